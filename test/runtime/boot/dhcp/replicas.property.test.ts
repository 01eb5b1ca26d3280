import fc from 'fast-check';
import { expect, it } from 'vitest';
import { A, B, world } from './two-replicas.ts';

const FUZZ_RUNS = Number(process.env.FUZZ_RUNS ?? 5000);
const MACS = [1, 2, 3, 4].map((index) => `52:54:00:00:00:0${index}`);
const POOL = ['192.168.50.100', '192.168.50.101', '192.168.50.102'];
const LEASE_MS = 60_000;

type Step = { do: 'boot' | 'rebind' | 'release' | 'decline'; who: number; at: number } | { do: 'pass'; ms: number };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('boot' as const), who: fc.nat(3), at: fc.nat(1) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('rebind', 'release', 'decline'), who: fc.nat(3), at: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(5, 60, 400, 30_000, LEASE_MS + 1) }) },
);

interface Held {
  readonly address: string;
  readonly server: string;
  readonly untilMs: number;
}

it('002-5: two replicas whose news comes late give no address twice, and know in the end what the store knows', async () => {
  let acknowledged = 0;
  const steps = fc.array(step, { minLength: 1, maxLength: 40, size: 'max' });
  const property = fc.asyncProperty(steps, fc.constantFrom(0, 5, 50, 300), fc.constantFrom(0, 1, 4), async (all, lateMs, saveMs) => {
    const { clock, servers, ask, store } = await world({}, { unknownMachines: 'offer', leaseSeconds: LEASE_MS / 1000 }, { lateMs, saveMs });
    const held = new Map<string, Held>();
    const request = async (mac: string, what: Parameters<typeof ask>[1]): Promise<void> => {
      held.delete(mac); // until it is acknowledged again
      const askedMs = clock.now();
      for (const { type, address, server = A } of await ask('request', { mac, ...what })) {
        if (type !== 'ack') continue;
        acknowledged++;
        held.set(mac, { address, server, untilMs: askedMs + LEASE_MS });
      }
    };
    for (const one of all) {
      if (one.do === 'pass') {
        await clock.runFor(one.ms);
        continue;
      }
      const mac = MACS[one.who] ?? '';
      const mine = held.get(mac);
      const { address, server } = mine ?? {};
      if (one.do === 'boot') {
        held.delete(mac);
        const offers = await ask('discover', { mac });
        const offer = offers[one.at] ?? offers[0];
        if (offer) await request(mac, { requested: offer.address, serverId: offer.server ?? A });
      } else if (mine && address && server && mine.untilMs > clock.now()) {
        if (one.do === 'rebind') await request(mac, { ciaddr: address });
        else {
          held.delete(mac);
          await ask(one.do, { mac, serverId: server, ...(one.do === 'release' ? { ciaddr: address } : { requested: address }) });
        }
      }
      const live = [...held.values()].filter(({ untilMs }) => untilMs > clock.now()).map((lease) => lease.address);
      expect(live.length, JSON.stringify(one)).toBe(new Set(live).size);
    }
    await clock.runFor(1000);
    for (const address of POOL) {
      const row = store.rows.get(address);
      const mac = row?.state === 'bound' && row.untilMs > clock.now() ? row.mac : undefined;
      expect(
        servers.map((server) => server.leaseOf(address)?.mac),
        `${address} at ${A} and ${B}`,
      ).toEqual([mac, mac]);
    }
    await Promise.all(servers.map((server) => server.close()));
  });
  await fc.assert(property, { numRuns: FUZZ_RUNS / 25 });
  expect(acknowledged).toBeGreaterThan(100);
});
