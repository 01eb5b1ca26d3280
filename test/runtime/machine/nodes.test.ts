import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import {
  enrol,
  FileSecretStore,
  findNodeByMac,
  findNodeByNumber,
  MemorySecretStore,
  type NodeRecord,
  nodeKind,
  observe,
  reservationKind,
  unenrol,
} from 'cdk8s-baremetal-runtime/machine/index';
import { MemoryStore, modify, type Store } from 'cdk8s-baremetal-runtime/store/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import { describe, expect, it } from 'vitest';

const properties = { cpus: 2, memoryMb: 4096, localGb: 80, cpuArch: 'x86_64' };
const bmc = { driver: 'ipmi', address: '10.0.1.5', username: 'admin', password: new Secret('hunter2!') } as const;

function context(store: Store = new MemoryStore()) {
  return { store, secrets: new MemorySecretStore(), clock: new VirtualClock(), random: seededRandom(1) };
}

describe('002-9: enrolment', () => {
  it('gives numbers from 1, finds by number and by any form of the hardware address, and keeps the password out of the record', async () => {
    const site = context();
    const first = await enrol(site, { name: 'a', macs: ['02-00-00-00-00-AA', '02:00:00:00:00:ab'], properties, bmc });
    const second = await enrol(site, { name: 'b', macs: ['02:00:00:00:00:bb'], properties, bmc: { ...bmc, address: '10.0.1.6' } });
    expect([first.value.number, second.value.number, first.value.state]).toEqual([1, 2, 'enrolled']);
    expect((await findNodeByNumber(site.store, 2))?.id).toBe(second.id);
    expect((await findNodeByMac(site.store, '02:00:00:00:00:AB'))?.id).toBe(first.id);
    expect(await findNodeByMac(site.store, 'nonsense')).toBeUndefined();
    expect(await findNodeByNumber(site.store, 3)).toBeUndefined();
    expect(JSON.stringify(first)).not.toContain('hunter2');
    expect((await site.secrets.read(first.value.bmc.passwordRef)).reveal()).toBe('hunter2!');
  });

  it.each([
    [
      'an address that is in use',
      { name: 'c', macs: ['02:00:00:00:00:cc', '02:00:00:00:00:aa'] },
      'MACHINE_TAKEN',
      /MAC address 02:00:00:00:00:aa belongs to the machine a/,
    ],
    ['a BMC that is in use', { name: 'c', macs: ['02:00:00:00:00:cc'], bmc }, 'MACHINE_TAKEN', /BMC 10\.0\.1\.5:623 belongs/],
    ['a name that is in use', { name: 'a', macs: ['02:00:00:00:00:cc'] }, 'MACHINE_TAKEN', /name a belongs/],
    ['an address that is none', { name: 'c', macs: ['xx:xx:xx:xx:xx:xx'] }, 'MACHINE_INVALID', /"xx:xx:xx:xx:xx:xx"/],
    ['the same address twice', { name: 'c', macs: ['02:00:00:00:00:cc', '02-00-00-00-00-CC'] }, 'MACHINE_INVALID', /twice/],
    ['no interface', { name: 'c', macs: [] }, 'MACHINE_INVALID', /interfaces/],
    ['no memory', { name: 'c', macs: ['02:00:00:00:00:cc'], properties: { ...properties, memoryMb: 0 } }, 'MACHINE_INVALID', /memoryMb/],
  ])('refuses %s and keeps nothing of it', async (_name, request, code, message) => {
    const site = context();
    await enrol(site, { name: 'a', macs: ['02:00:00:00:00:aa'], properties, bmc });
    await expect(enrol(site, { properties, bmc: { ...bmc, address: '10.0.1.6' }, ...request })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
    expect((await site.store.list(reservationKind)).map(({ id }) => id)).toEqual([
      'bmc.10.0.1.5_623',
      'mac.02:00:00:00:00:aa',
      'name.a',
      'number.1',
    ]);
  });

  it('is refused for the uuid of another machine, whose password stays', async () => {
    const site = context();
    const { id, value } = await enrol(site, { name: 'a', macs: ['02:00:00:00:00:aa'], properties, bmc });
    const other = { ...bmc, address: '10.0.1.6', password: new Secret('of another machine') };
    const request = { uuid: id, name: 'b', macs: ['02:00:00:00:00:bb'], properties, bmc: other };
    await expect(enrol(site, request)).rejects.toMatchObject({ code: 'MACHINE_TAKEN', message: expect.stringContaining('machine a') });
    expect((await site.secrets.read(value.bmc.passwordRef)).reveal()).toBe('hunter2!');
    expect((await site.store.list(reservationKind)).map(({ id: held }) => held)).not.toContain('name.b');
  });

  it('of two enrolments of one machine at once exactly one succeeds', async () => {
    const site = context();
    const results = await Promise.allSettled(
      [1, 2].map((n) => enrol(site, { name: `n${n}`, macs: ['02:00:00:00:00:aa'], properties, bmc })),
    );
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await site.store.list(nodeKind)).toHaveLength(1);
  });

  it('an enrolment that died leaves reservations that the next one takes over after a minute', async () => {
    const site = context();
    await site.store.create(reservationKind, 'mac.02:00:00:00:00:aa', { nodeId: 'dead', at: site.clock.now() });
    const request = { name: 'a', macs: ['02:00:00:00:00:aa'], properties, bmc };
    await expect(enrol(site, request)).rejects.toMatchObject({ code: 'MACHINE_TAKEN' });
    await site.clock.runFor(61_000);
    const { id } = await enrol(site, request);
    expect((await findNodeByMac(site.store, '02:00:00:00:00:aa'))?.id).toBe(id);
  });
});

describe('002-9: the end of an enrolment', () => {
  it('gives name and addresses back, but never the number, and forgets the password', async () => {
    const site = context();
    const request = { name: 'a', macs: ['02:00:00:00:00:aa'], properties, bmc };
    const { id } = await enrol(site, request);
    expect(await unenrol(site, id)).toBe(true);
    expect(await unenrol(site, id)).toBe(false);
    expect([site.secrets.names(), await site.store.list(reservationKind)]).toEqual([[], []]);
    expect((await enrol(site, request)).value.number).toBe(2);
  });

  it('is refused while there is an instance', async () => {
    const site = context();
    const { id } = await enrol(site, { name: 'a', macs: ['02:00:00:00:00:aa'], properties, bmc });
    await modify(site.store, nodeKind, id, (node) => ({
      ...node,
      instance: { uuid: 'i', name: 'n', imageId: 'm', vifs: [], volumes: [], at: 0 },
    }));
    await expect(unenrol(site, id)).rejects.toMatchObject({ code: 'MACHINE_IN_USE' });
  });
});

describe('a record', () => {
  it('keeps fields of a newer version through a change by an older one', async () => {
    const { store, clock, ...rest } = context();
    const { id } = await enrol({ store, clock, ...rest }, { name: 'a', macs: ['02:00:00:00:00:aa'], properties, bmc });
    await modify(store, nodeKind, id, (node) => ({ ...node, addedLater: { kept: true } }) as NodeRecord);
    await observe({ store, clock }, id, { type: 'seen' });
    expect((await store.get(nodeKind, id))?.value).toMatchObject({ addedLater: { kept: true }, timeline: [{ type: 'seen' }] });
  });

  it('keeps them wherever they are', async () => {
    const { store, clock, ...rest } = context();
    const { id } = await enrol({ store, clock, ...rest }, { name: 'a', macs: ['02:00:00:00:00:aa'], properties, bmc });
    const later = { addedLater: 1 };
    const at = clock.now();
    const parts = {
      power: { state: 'on', at, ...later },
      request: { verb: 'inspect', at, ...later },
      installed: { generation: 1, deploymentId: 'd', imageId: 'i', sha256: 'a'.repeat(64), at, ...later },
      lastFailure: { state: 'building', reason: 'r', at, cleanupErrors: [], ...later },
      cleanup: { errors: [], gaveUp: true, ...later },
      deployment: {
        ...{ id: 'd', iqn: 'q', expiresAt: at, generation: 1, imageId: 'i', image: { boot: 'local' } },
        phoneHome: { url: 'u', ...later },
        claim: { address: '10.0.0.1', port: 1, lun: 1, at, ...later },
        progress: { bytes: 1, at, ...later },
        written: { bytes: 1, sha256: 'a'.repeat(64), at, ...later },
      },
    };
    await modify(store, nodeKind, id, (node) => {
      const interfaces = node.interfaces.map((known) => ({ ...known, ...later }));
      const history = [{ from: 'enrolled', to: 'verifying', reason: 'r', at, durationMs: 1, ...later }];
      return { ...node, ...parts, interfaces, history, properties: { ...node.properties, ...later } } as NodeRecord;
    });
    await observe({ store, clock }, id, { type: 'seen' });
    const { value } = (await store.get(nodeKind, id)) ?? {};
    expect(value).toMatchObject({ ...parts, interfaces: [later], properties: later, history: [later] });
  });

  it('counts the same observation instead of listing it, keeps a hundred, and cleans their text', async () => {
    const { store, clock, ...rest } = context();
    const { id } = await enrol({ store, clock, ...rest }, { name: 'a', macs: ['02:00:00:00:00:aa'], properties, bmc });
    for (let i = 0; i < 5; i++) await observe({ store, clock }, id, { type: 'TFTP served', detail: 'a\nb' });
    for (let i = 0; i < 120; i++) await observe({ store, clock }, id, { type: `e${i}` });
    const timeline = (await store.get(nodeKind, id))?.value.timeline ?? [];
    expect(timeline).toHaveLength(100);
    for (let i = 0; i < 5; i++) await observe({ store, clock }, id, { type: 'TFTP served', detail: 'a\nb' });
    expect((await store.get(nodeKind, id))?.value.timeline.at(-1)).toMatchObject({ detail: 'a b', count: 5 });
    expect(await observe({ store, clock }, 'none', { type: 'x' })).toBeUndefined();
  });
});

describe('N15: secrets in files', () => {
  it('are 0600 in a directory 0700, replaced whole, and removed', async () => {
    const directory = join(mkdtempSync(join(tmpdir(), 'secrets-')), 'inner');
    const secrets = new FileSecretStore(directory);
    await secrets.write('bmc.1', new Secret('one'));
    await secrets.write('bmc.1', new Secret('two'));
    expect((await secrets.read('bmc.1')).reveal()).toBe('two');
    expect([statSync(directory).mode & 0o777, statSync(join(directory, 'bmc.1')).mode & 0o777]).toEqual([0o700, 0o600]);
    expect(readdirSync(directory)).toEqual(['bmc.1']);
    expect(readFileSync(join(directory, 'bmc.1'), 'utf8')).toBe('two');
    await secrets.remove('bmc.1');
    await secrets.remove('bmc.1');
    await expect(secrets.read('bmc.1')).rejects.toMatchObject({ code: 'SECRET_UNKNOWN' });
    rmSync(join(directory, '..'), { recursive: true });
  });

  it('a file that others may read, and a name that leaves the directory, are refused', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'secrets-'));
    const secrets = new FileSecretStore(directory);
    writeFileSync(join(directory, 'open'), 'x');
    chmodSync(join(directory, 'open'), 0o644);
    await expect(secrets.read('open')).rejects.toMatchObject({ code: 'SECRET_MODE' });
    for (const name of ['../x', '', '.hidden', 'a/b', 'a\0b', '~x', 'x'.repeat(300)]) {
      await expect(secrets.read(name)).rejects.toMatchObject({ code: 'SECRET_NAME' });
      await expect(secrets.write(name, new Secret('x'))).rejects.toMatchObject({ code: 'SECRET_NAME' });
    }
    rmSync(directory, { recursive: true });
  });
});
