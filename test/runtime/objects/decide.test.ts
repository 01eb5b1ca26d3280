import { Secret } from 'cdk8s-baremetal-contract/secret';
import { enrol, MemorySecretStore, reservationKind } from 'cdk8s-baremetal-runtime/machine/index';
import { nextStep, type Seen } from 'cdk8s-baremetal-runtime/objects/decide';
import { readObject } from 'cdk8s-baremetal-runtime/objects/index';
import { MemoryStore } from 'cdk8s-baremetal-runtime/store/index';
import { seededRandom, VirtualClock } from 'cdk8s-baremetal-simulator';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

async function enrolled() {
  const context = { store: new MemoryStore(), secrets: new MemorySecretStore(), clock: new VirtualClock(), random: seededRandom(1) };
  const request = {
    uuid: '00000000-0000-4000-8000-000000000001',
    name: 'bm-1',
    macs: ['52:54:00:00:00:01'],
    properties: { cpus: 1, memoryMb: 1, localGb: 1, cpuArch: 'x86_64' },
    bmc: { driver: 'ipmi', address: '10.0.0.1', username: 'admin', password: new Secret('secret') },
  } as const;
  return { context, request, node: (await enrol(context, request)).value };
}

describe('what is to be done about an object', () => {
  it('a record goes only when its object is gone, it was held, the time is over and it carries nothing', async () => {
    const { node } = await enrolled();
    const instance = { uuid: 'i', name: 'i', imageId: 'i', vifs: [], volumes: [], at: 0 };
    const seen = fc.record({
      there: fc.boolean(),
      deleting: fc.boolean(),
      bound: fc.boolean(),
      known: fc.boolean(),
      carrying: fc.boolean(),
      maintenance: fc.boolean(),
      ownPlace: fc.boolean(),
      goneSince: fc.option(fc.nat(1000), { nil: undefined }),
      generation: fc.nat(3),
      forgetAfterMs: fc.nat(1000),
    });
    fc.assert(
      fc.property(seen, (given) => {
        const metadata = { namespace: 'bms', name: 'bm-1', uid: 'u', resourceVersion: '1', generation: 2 };
        const raw = {
          metadata: { ...metadata, ...(given.deleting && { deletionTimestamp: 'now' }) },
          spec: { site: 'wuxi2', pod: 'pod45' },
        };
        const place = 'pod45-wuxi2';
        const { goneSince, generation, forgetAfterMs, maintenance } = given;
        const state: Seen = {
          object: given.there ? readObject(raw) : undefined,
          place,
          binding: given.bound
            ? {
                namespace: 'bms',
                name: 'bm-1',
                place: given.ownPlace ? place : 'pod46-wuxi2',
                uid: 'u',
                nodeUuid: node.uuid,
                generation,
                goneSince,
              }
            : undefined,
          node: given.known ? { ...node, maintenance, ...(given.carrying && { instance }) } : undefined,
          username: undefined,
          nowMs: 1000,
          forgetAfterMs,
        };
        const { kind } = nextStep(state);
        const absent = !given.there || given.deleting;
        if (kind === 'unenrol')
          expect([absent, given.carrying, maintenance, given.ownPlace, 1000 - (goneSince ?? 9e9) >= forgetAfterMs]).toEqual([
            true,
            false,
            true,
            true,
            true,
          ]);
        if (['hold', 'note gone', 'forget', 'wait'].includes(kind)) expect([absent, given.ownPlace]).toEqual([true, true]);
        if (['enrol', 'apply', 'bind', 'release', 'rename user'].includes(kind)) expect(absent).toBe(false);
      }),
    );
  });

  it.each([undefined, null, 7, 'x', [], {}, { metadata: {} }, { metadata: { name: 'a' }, spec: {} }])('%j is no object', (value) => {
    expect(readObject(value)).toBeUndefined();
  });

  it('an enrolment of a machine that is there keeps nothing of it from it', async () => {
    const { context, request } = await enrolled();
    const before = await context.store.list(reservationKind);
    await expect(enrol(context, request)).rejects.toMatchObject({ code: 'MACHINE_TAKEN' });
    expect(await context.store.list(reservationKind)).toEqual(before);
  });
});
