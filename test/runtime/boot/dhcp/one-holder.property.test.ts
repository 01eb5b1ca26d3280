import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LeaseBook } from '../../../../src/runtime/boot/dhcp/lease.ts';
import { numberOption, OPTION } from '../../../../src/runtime/boot/dhcp/options.ts';
import type { DhcpOutcome } from '../../../../src/runtime/boot/dhcp/reply.ts';
import { machine, SERVER, World } from './world.ts';

const FUZZ_RUNS = Number(process.env.FUZZ_RUNS ?? 5000);
const MACS = [1, 2, 3, 4, 5].map((index) => `52:54:00:00:00:0${index}`);
const ADDRESSES = ['192.168.50.40', '192.168.50.100', '192.168.50.101', '192.168.50.102', '192.168.50.20', '10.128.192.100'];

type Step =
  | { do: 'boot' | 'discover' | 'renew' | 'release' | 'decline'; who: number }
  | { do: 'claim' | 'wake' | 'forge-release' | 'forge-decline'; who: number; address: string }
  | { do: 'reserve'; who: number; address: string | undefined }
  | { do: 'pass'; seconds: number }
  | { do: 'restart' };

const who = fc.nat(MACS.length - 1);
const address = fc.constantFrom(...ADDRESSES);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom('boot', 'discover', 'renew', 'release', 'decline'), who }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('claim', 'wake', 'forge-release', 'forge-decline'), who, address }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reserve' as const), who, address: fc.option(address, { nil: undefined }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('pass' as const), seconds: fc.integer({ min: 1, max: 4000 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
);

/** What a client believes it may use, by its own count of the lease time. */
interface Held {
  address: string;
  untilMs: number;
}

it('002-5: no address is ever held by two clients, whatever they do, over restarts and changed reservations', () => {
  let acknowledged = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), fc.boolean(), (steps, authoritative) => {
      const world = new World({ authoritative }).add(...MACS.map((mac) => machine({ id: mac, mac })));
      const held = new Map<string, Held>();
      const stored = new Map<string, Parameters<LeaseBook['put']>[0]>();
      const hear = (mac: string, outcome: DhcpOutcome): void => {
        for (const lease of outcome.changed) stored.set(lease.address, lease);
        const answer = outcome.replies[0]?.message;
        if (outcome.exchange.answer === 'nak') held.delete(mac);
        if (outcome.exchange.answer !== 'ack' || !answer) return;
        acknowledged++;
        const seconds = numberOption(answer, OPTION.leaseTime) ?? 0;
        held.set(mac, { address: answer.yiaddr, untilMs: world.nowMs + seconds * 1000 });
      };
      for (const one of steps) {
        const mac = 'who' in one ? (MACS[one.who] ?? '') : '';
        const mine = held.get(mac);
        switch (one.do) {
          case 'boot': {
            held.delete(mac); // a rebooting machine no longer uses its address
            const offered = world.ask('discover', { mac }).replies[0]?.message.yiaddr;
            if (offered) hear(mac, world.ask('request', { mac, requested: offered, serverId: SERVER }));
            break;
          }
          case 'discover':
            world.ask('discover', { mac });
            break;
          case 'renew':
            if (mine && mine.untilMs > world.nowMs) hear(mac, world.ask('request', { mac, ciaddr: mine.address }));
            break;
          case 'release':
            held.delete(mac);
            if (mine) hear(mac, world.ask('release', { mac, ciaddr: mine.address, serverId: SERVER }));
            break;
          case 'decline':
            held.delete(mac);
            if (mine) hear(mac, world.ask('decline', { mac, requested: mine.address, serverId: SERVER }));
            break;
          case 'claim':
            held.delete(mac);
            hear(mac, world.ask('request', { mac, requested: one.address, serverId: SERVER }));
            break;
          case 'wake':
            held.delete(mac);
            hear(mac, world.ask('request', { mac, requested: one.address }));
            break;
          case 'forge-release':
            if (mine?.address !== one.address) hear(mac, world.ask('release', { mac, ciaddr: one.address }));
            break;
          case 'forge-decline':
            if (mine?.address !== one.address) hear(mac, world.ask('decline', { mac, requested: one.address }));
            break;
          case 'reserve':
            world.add(machine({ id: mac, mac, ...(one.address && { address: one.address }) }));
            break;
          case 'pass':
            world.nowMs += one.seconds * 1000;
            break;
          case 'restart':
            world.leases = new LeaseBook(stored.values());
            break;
        }
        const live = [...held.values()].filter(({ untilMs }) => untilMs > world.nowMs).map((lease) => lease.address);
        expect(live.length, JSON.stringify(one)).toBe(new Set(live).size);
      }
    }),
    { numRuns: FUZZ_RUNS / 10 },
  );
  expect(acknowledged).toBeGreaterThan(100);
});
