/** Stops of BMCs in the store: shared by replicas, kept over restarts, changed by one at a time. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { IpmiGateway, IpmiPower } from 'cdk8s-baremetal-runtime/power/index';
import { bmcStopKind, StoredStops } from 'cdk8s-baremetal-runtime/roles/power-stops';
import { MemoryStore, openStore, type Store } from 'cdk8s-baremetal-runtime/store/index';
import { describe, expect, it } from 'vitest';
import { failure, makeLab, seededRandom } from './support.ts';

const stop = (probeAtMs: number) => ({ bmc: '[fd00::1]:623', user: 'u', code: 'IPMI_WRONG_PASSWORD', atMs: 1, probeAtMs, refused: [] });

describe('stored stops', () => {
  it('002-2: one swap of two wins', async () => {
    const store = new MemoryStore();
    const [a, b] = [new StoredStops(store), new StoredStops(store)];
    expect(await a.swap('[fd00::1]:623', undefined, stop(1))).toBe(true);
    expect(await b.swap('[fd00::1]:623', undefined, stop(2))).toBe(false);
    const [seenByA, seenByB] = [await a.read('[fd00::1]:623'), await b.read('[fd00::1]:623')];
    expect(await b.swap('[fd00::1]:623', seenByB, stop(3))).toBe(true);
    expect(await a.swap('[fd00::1]:623', seenByA, undefined)).toBe(false);
    expect(await a.read('[fd00::1]:623')).toMatchObject({ probeAtMs: 3 });
    expect(await a.swap('[fd00::1]:623', await a.read('[fd00::1]:623'), undefined)).toBe(true);
    expect(await b.read('[fd00::1]:623')).toBeUndefined();
    const [record] = await store.list(bmcStopKind);
    expect(record).toBeUndefined();
  });

  it('002-2: addresses that differ in where their zeros are have stops of their own', async () => {
    const stops = new StoredStops(new MemoryStore());
    await stops.swap('[fd00::1:2]:623', undefined, stop(1));
    await stops.wake('[fd00::1:2]:623', 1);
    expect(await stops.read('[fd00:1::2]:623')).toBeUndefined();
    expect(await stops.wokenAt('[fd00:1::2]:623')).toBeUndefined();
    expect(await stops.read('[fd00::1:2]:623')).toMatchObject({ probeAtMs: 1 });
  });

  it('002-2: a restarted daemon keeps to the stop that it wrote before; the password is nowhere in it', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'stops-'));
    const open = (): Store => openStore(`sqlite://${join(directory, 'bms.sqlite')}`, { clock: nodeClock });
    const lab = await makeLab();
    const login = async (store: Store): Promise<string> => {
      const stops = new StoredStops(store);
      const gateway = new IpmiGateway({ clock: lab.clock, network: lab.network, logger: silentLogger, random: seededRandom(6), stops });
      const code = await failure(lab, new IpmiPower(gateway, lab.access({ password: 'stale-secret' })).status());
      await lab.clock.until(gateway.close());
      return code;
    };
    const first = open();
    expect(await login(first)).toBe('IPMI_WRONG_PASSWORD');
    await first.close();
    const packets = lab.network.log.length;
    const second = open();
    expect(await login(second)).toBe('IPMI_AUTH_HELD');
    expect(lab.network.log).toHaveLength(packets);
    expect(JSON.stringify(await second.list(bmcStopKind))).not.toContain('stale-secret');
    await second.close();
    await lab.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('002-2: a store that takes no writes for hours costs a BMC no more tries than one that does', async () => {
    const store = new MemoryStore();
    let full = false;
    const writes = (target: Store, name: 'create' | 'update' | 'delete') => {
      const work = target[name].bind(target) as (...args: unknown[]) => Promise<unknown>;
      Object.assign(target, { [name]: (...args: unknown[]) => (full ? Promise.reject(new Error('disk full')) : work(...args)) });
    };
    for (const name of ['create', 'update', 'delete'] as const) writes(store, name);
    const lab = await makeLab({ gateway: { stops: new StoredStops(store) } });
    const power = new IpmiPower(lab.gateway, lab.access({ password: 'stale' }));
    const tries = async (minutes: number): Promise<number> => {
      let refused = 0;
      for (let minute = 0; minute < minutes; minute++) {
        if ((await failure(lab, power.status())) === 'IPMI_WRONG_PASSWORD') refused += 1;
        await lab.clock.advance(60_000);
      }
      return refused;
    };
    full = true;
    expect(await tries(180)).toBeLessThanOrEqual(3);
    full = false;
    expect(await tries(180)).toBeLessThanOrEqual(3);
    expect(await lab.clock.until(new IpmiPower(lab.gateway, lab.access()).status())).toBe('off');
    const [stopped] = await store.list(bmcStopKind);
    expect(stopped?.value).toMatchObject({ code: 'IPMI_WRONG_PASSWORD' });
    await lab.clock.until(lab.gateway.retry('10.0.0.20:623'));
    expect(await store.list(bmcStopKind)).toEqual([]);
    await lab.close();
  });

  it('002-2: a person who says "try again" on one replica ends the rest on the other', async () => {
    const store = new MemoryStore();
    const lab = await makeLab({ gateway: { schedule: () => [100], stops: new StoredStops(store) } });
    const { clock, network } = lab;
    const gateway = new IpmiGateway({
      clock,
      network,
      logger: silentLogger,
      random: seededRandom(9),
      schedule: () => [100],
      stops: new StoredStops(store),
    });
    const power = new IpmiPower(gateway, lab.access());
    lab.bmc.faults.dead = true;
    for (let i = 0; i < 6; i++) {
      await failure(lab, power.status());
      await clock.advance(20_000);
    }
    expect(await failure(lab, power.status())).toBe('IPMI_BMC_RESTING');
    lab.bmc.faults.dead = false;
    await lab.clock.until(lab.gateway.retry('10.0.0.20:623'));
    await lab.clock.until(lab.gateway.retry('10.0.0.20:623')); // twice is once
    await clock.advance(5_100);
    expect(await clock.until(power.status())).toBe('off');
    await clock.until(gateway.close());
    await lab.close();
  });
});
