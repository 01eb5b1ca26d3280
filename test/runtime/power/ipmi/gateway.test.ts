import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { IpmiGateway, IpmiPower, Secret } from 'cdk8s-baremetal-runtime/power/index';
import { getChassisStatus } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { SimulatedBmc } from 'cdk8s-baremetal-simulator/bmc/index';
import { describe, expect, it } from 'vitest';
import { FakeNetwork, failure, makeLab, seededRandom, TestChassis, USERS, VirtualClock } from '../support.ts';

describe('the gateway', () => {
  it('002-2: one log-in serves all commands of all callers', async () => {
    const lab = await makeLab();
    const polls = Array.from({ length: 40 }, () => new IpmiPower(lab.gateway, lab.access()).status());
    expect(await lab.clock.until(Promise.all(polls))).toEqual(Array(40).fill('off'));
    expect(lab.bmc.count(6, 0x3b)).toBe(1);
    expect(lab.gateway.stats()).toMatchObject({ lines: 1, sessions: 1, malformed: 0, unclaimed: 0 });
    await lab.close();
  });

  it.each([
    { name: 'one at a time by default', maxInFlight: undefined, most: 1 },
    { name: 'pipelined when allowed', maxInFlight: 8, most: 8 },
  ])('002-2: $name', async ({ maxInFlight, most }) => {
    const lab = await makeLab({ gateway: { ...(maxInFlight && { maxInFlight }) } });
    const access = lab.access();
    await lab.clock.until(lab.gateway.run(access, getChassisStatus));
    lab.network.wire = { fate: () => [10] };
    let waiting = 0;
    let peak = 0;
    const inner = lab.network.wire;
    lab.network.wire = {
      fate(data, from, to) {
        waiting += to.port === 623 ? 1 : -1;
        peak = Math.max(peak, waiting);
        return inner.fate(data, from, to);
      },
    };
    await lab.clock.until(Promise.all(Array.from({ length: 32 }, () => lab.gateway.run(access, getChassisStatus))));
    expect(peak).toBe(most);
    await lab.close();
  });

  it('002-2: a session that the BMC forgot is opened again once', async () => {
    const lab = await makeLab();
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.status());
    lab.bmc.restart();
    lab.chassis.powered = true;
    expect(await lab.clock.until(power.status())).toBe('on');
    expect(lab.bmc.count(6, 0x3b)).toBe(2);
    lab.bmc.faults.dead = true;
    expect(await failure(lab, power.status())).toBe('IPMI_NO_ANSWER');
    expect(lab.gateway.stats().sessions).toBe(0);
    lab.bmc.faults.dead = false;
    expect(await lab.clock.until(power.status())).toBe('on');
    await lab.close();
  });

  it('002-2: keeps a quiet session alive, and closes one that nobody uses', async () => {
    const lab = await makeLab({ gateway: { idleCloseMs: 200_000 } });
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.status());
    await lab.clock.advance(150_000); // the BMC's own limit is 60 s
    expect(await lab.clock.until(power.status())).toBe('off');
    expect(lab.bmc.count(6, 0x3b)).toBe(1);
    expect(lab.bmc.count(6, 0x01)).toBeGreaterThanOrEqual(4);
    await lab.clock.advance(231_000);
    expect(lab.gateway.stats().sessions).toBe(0);
    expect(lab.bmc.sessions.active).toBe(0);
    expect(lab.clock.pending).toBe(0); // no timer is left behind
    await lab.close();
  });

  it('002-2: other credentials end the old session', async () => {
    const lab = await makeLab();
    await lab.clock.until(new IpmiPower(lab.gateway, lab.access()).status());
    await lab.clock.until(new IpmiPower(lab.gateway, lab.access({ username: 'op', password: 'operate' })).status());
    expect(lab.bmc.sessions.active).toBe(1);
    expect(lab.gateway.stats().sessions).toBe(1);
    await lab.close();
  });

  it('002-2: refuses commands after close, fails those under way, leaves nothing open', async () => {
    const lab = await makeLab();
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.status());
    lab.bmc.faults.dead = true;
    const underWay = power.status().catch((error: { code?: string }) => error.code);
    await lab.clock.advance(100);
    await lab.clock.until(lab.gateway.close());
    expect(await lab.clock.until(underWay)).toBe('POWER_GATEWAY_CLOSED');
    expect(await failure(lab, power.status())).toBe('POWER_GATEWAY_CLOSED');
    await lab.bmc.close();
    expect(lab.network.open).toBe(0);
    expect(lab.clock.pending).toBe(0);
  });

  it('002-2: 300 BMCs on one socket with room for 50 sessions', async () => {
    const clock = new VirtualClock();
    const network = new FakeNetwork(clock);
    const logger = silentLogger;
    const bmcs = await Promise.all(
      Array.from({ length: 300 }, (_, i) => {
        const chassis = new TestChassis();
        chassis.powered = i % 2 === 0;
        const address = `10.1.${i >> 8}.${i & 255}`;
        return SimulatedBmc.start({ clock, network, logger, random: seededRandom(i), address, users: USERS, chassis });
      }),
    );
    const gateway = new IpmiGateway({ clock, network, logger, random: seededRandom(999), maxSessions: 50 });
    const password = new Secret('correct-horse');
    const powers = bmcs.map((bmc) => new IpmiPower(gateway, { address: bmc.local.address, username: 'admin', password }));
    for (let round = 0; round < 2; round++) {
      const states = await clock.until(Promise.all(powers.map((power) => power.status())));
      expect(states).toEqual(bmcs.map((_, i) => (i % 2 === 0 ? 'on' : 'off')));
      expect(gateway.stats().sessions).toBeLessThanOrEqual(50);
    }
    expect(bmcs.filter((bmc) => bmc.sessions.active > 0).length).toBeLessThanOrEqual(50);
    expect(network.open).toBe(301); // the BMCs' sockets, and one for all of them
    await clock.until(gateway.close());
    await Promise.all(bmcs.map((bmc) => bmc.close()));
    expect(network.open).toBe(0);
  });
});
