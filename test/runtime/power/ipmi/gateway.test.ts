import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { IpmiGateway, IpmiPower, Secret } from 'cdk8s-baremetal-runtime/power/index';
import { chassisControl, getBootOption, getChassisStatus, MemoryStopKeeper } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { SimulatedBmc } from 'cdk8s-baremetal-simulator/bmc/index';
import { describe, expect, it } from 'vitest';
import { FakeNetwork, failure, makeLab, seededRandom, TestChassis, USERS, VirtualClock } from '../support.ts';

describe('manners', () => {
  it('002-2: ten who look at the same moment cost one poll; a look after a command is a new one', async () => {
    const lab = await makeLab();
    const access = lab.access();
    const power = new IpmiPower(lab.gateway, access);
    await lab.clock.until(power.status());
    const before = lab.bmc.count(0, 1);
    expect(await lab.clock.until(Promise.all(Array.from({ length: 10 }, () => power.status())))).toEqual(Array(10).fill('off'));
    expect(lab.bmc.count(0, 1)).toBe(before + 1);
    // looks before and after a command must not share: the first saw the machine off
    const early = power.status();
    const command = lab.gateway.run(access, chassisControl('on'));
    const late = power.status();
    expect(await lab.clock.until(Promise.all([early, command, late]))).toEqual(['off', undefined, 'on']);
    await lab.close();
  });

  it('002-2: one caller that gives up takes nothing from the others who share its look', async () => {
    const lab = await makeLab({ bmc: { faults: { replyDelayMs: 50 } } });
    const power = new IpmiPower(lab.gateway, lab.access());
    const controller = new AbortController();
    const gone = power.status(controller.signal).catch((error: Error) => error.message);
    const stays = power.status();
    controller.abort(new Error('enough'));
    expect(await lab.clock.until(gone)).toBe('enough');
    expect(await lab.clock.until(stays)).toBe('off');
    await lab.close();
  });

  it('002-2: a BMC gets so many commands a second and no more', async () => {
    const lab = await makeLab({ gateway: { commandsPerSecond: 10, burst: 5 } });
    const start = lab.clock.monotonic();
    await lab.clock.until(Promise.all(Array.from({ length: 25 }, () => lab.gateway.run(lab.access(), getBootOption(5)))));
    const took = lab.clock.monotonic() - start;
    expect(took).toBeGreaterThan(1900); // 20 beyond the burst
    expect(took).toBeLessThan(2500);
    await lab.close();
  });

  it('002-2: a silent BMC is left alone, then probed by one command, and is back with its first answer', async () => {
    const lab = await makeLab({ gateway: { schedule: () => [100] } });
    const power = new IpmiPower(lab.gateway, lab.access());
    lab.bmc.faults.dead = true;
    for (let i = 0; i < 3; i++) expect(await failure(lab, power.status())).toBe('IPMI_NO_ANSWER');
    expect(lab.gateway.statuses()).toMatchObject([{ state: 'resting', breaker: 'open' }]);
    const packets = lab.network.log.length;
    for (let i = 0; i < 20; i++) expect(await failure(lab, power.status())).toBe('IPMI_BMC_RESTING');
    expect(lab.network.log).toHaveLength(packets);
    await lab.clock.advance(6_100); // 5 s and 20 %
    expect(lab.gateway.statuses()).toMatchObject([{ breaker: 'half-open' }]);
    expect(await failure(lab, power.status())).toBe('IPMI_NO_ANSWER');
    expect(await failure(lab, power.status())).toBe('IPMI_BMC_RESTING'); // twice as long now
    lab.bmc.faults.dead = false;
    await lab.clock.advance(12_100);
    expect(await lab.clock.until(power.status())).toBe('off');
    expect(lab.gateway.statuses()).toMatchObject([{ state: 'answering', breaker: 'closed', lastError: undefined }]);
    await lab.close();
  });

  it('002-2: a person ends the rest', async () => {
    const lab = await makeLab({ gateway: { schedule: () => [100] } });
    const power = new IpmiPower(lab.gateway, lab.access());
    lab.bmc.faults.dead = true;
    for (let i = 0; i < 4; i++) await failure(lab, power.status());
    lab.bmc.faults.dead = false;
    expect(await failure(lab, power.status())).toBe('IPMI_BMC_RESTING');
    await lab.clock.until(lab.gateway.retry('10.0.0.20:623'));
    expect(await lab.clock.until(power.status())).toBe('off');
    await lab.close();
  });

  it('002-2: one refusal stops all traffic, after a restart and on other replicas too, until a person lifts it', async () => {
    const stops = new MemoryStopKeeper();
    const lab = await makeLab({ gateway: { stops } });
    const access = lab.access({ password: 'stale' });
    expect(await failure(lab, new IpmiPower(lab.gateway, access).status())).toBe('IPMI_WRONG_PASSWORD');
    const packets = lab.network.log.length;
    const replica = new IpmiGateway({ clock: lab.clock, network: lab.network, logger: silentLogger, random: seededRandom(77), stops });
    expect(await failure(lab, new IpmiPower(replica, lab.access({ password: 'stale' })).status())).toBe('IPMI_AUTH_HELD');
    expect(replica.statuses()).toMatchObject([{ state: 'stopped', session: false }]);
    expect(lab.network.log).toHaveLength(packets);
    expect(JSON.stringify(await stops.read('10.0.0.20:623'))).not.toContain('stale');
    await lab.clock.until(replica.retry('10.0.0.20:623'));
    expect(await failure(lab, new IpmiPower(lab.gateway, access).status())).toBe('IPMI_WRONG_PASSWORD'); // asked again, and refused again
    expect(await failure(lab, new IpmiPower(replica, lab.access({ password: 'stale' })).status())).toBe('IPMI_AUTH_HELD');
    await lab.clock.until(replica.close());
    await lab.close();
  });

  it('002-2: of all replicas one probes a stopped BMC, once an hour', async () => {
    const stops = new MemoryStopKeeper();
    const lab = await makeLab({ gateway: { stops } });
    const replica = new IpmiGateway({ clock: lab.clock, network: lab.network, logger: silentLogger, random: seededRandom(77), stops });
    const powers = [lab.gateway, replica].map((gateway) => new IpmiPower(gateway, lab.access({ password: 'stale' })));
    await failure(lab, powers[0]?.status() ?? Promise.resolve());
    let tries = 0;
    for (let minute = 0; minute < 6 * 60; minute += 10) {
      await lab.clock.advance(600_000);
      for (const power of powers) if ((await failure(lab, power.status())) === 'IPMI_WRONG_PASSWORD') tries += 1;
    }
    expect(tries).toBe(6);
    await lab.clock.until(replica.close());
    await lab.close();
  });

  it('002-2: a third different password within the hour is guessing, and not tried', async () => {
    const lab = await makeLab();
    const attempt = (password: string): Promise<string> => failure(lab, new IpmiPower(lab.gateway, lab.access({ password })).status());
    expect([await attempt('one'), await attempt('two'), await attempt('three')]).toEqual(Array(3).fill('IPMI_WRONG_PASSWORD'));
    expect(await attempt('four')).toBe('IPMI_AUTH_HELD');
    await lab.close();
  });

  it('002-2: a store that fails does not open the way', async () => {
    const broken = { read: () => Promise.reject(new Error('no store')), swap: () => Promise.reject(new Error('no store')) };
    const lab = await makeLab({ gateway: { stops: broken } });
    const power = new IpmiPower(lab.gateway, lab.access({ password: 'stale' }));
    expect(await failure(lab, power.status())).toBe('IPMI_WRONG_PASSWORD');
    expect(await failure(lab, power.status())).toBe('IPMI_AUTH_HELD');
    await lab.close();
  });
});

describe('a store that reads and does not write', () => {
  /** As with a full disk, or a database that is a read-only copy for a while. */
  class UnwritableStops extends MemoryStopKeeper {
    full = true;

    override swap(...change: Parameters<MemoryStopKeeper['swap']>): Promise<boolean> {
      return this.full ? Promise.reject(new Error('no space left on device')) : super.swap(...change);
    }
  }

  it('002-2: a refusal that it does not take is kept to all the same, and written when it takes writes again', async () => {
    const stops = new UnwritableStops();
    const lab = await makeLab({ gateway: { stops } });
    const stale = new IpmiPower(lab.gateway, lab.access({ password: 'stale' }));
    expect(await failure(lab, stale.status())).toBe('IPMI_WRONG_PASSWORD');
    const packets = lab.network.log.length;
    for (let i = 0; i < 3; i++) expect(await failure(lab, stale.status())).toBe('IPMI_AUTH_HELD');
    stops.full = false;
    expect(await failure(lab, stale.status())).toBe('IPMI_AUTH_HELD');
    expect(lab.network.log).toHaveLength(packets);
    expect(await stops.read('10.0.0.20:623')).toMatchObject({ code: 'IPMI_WRONG_PASSWORD' });
    await lab.close();
  });

  it('002-2: the lone probe stays one an hour', async () => {
    const stops = new UnwritableStops();
    stops.full = false;
    const lab = await makeLab({ gateway: { stops } });
    const stale = new IpmiPower(lab.gateway, lab.access({ password: 'stale' }));
    await failure(lab, stale.status());
    stops.full = true;
    await lab.clock.advance(3_600_000);
    const codes: string[] = [];
    for (let i = 0; i < 5; i++) codes.push(await failure(lab, stale.status()));
    expect(codes.filter((code) => code === 'IPMI_WRONG_PASSWORD').length).toBeLessThanOrEqual(1);
    await lab.close();
  });

  it('002-2: what a person lifted is not written later', async () => {
    const stops = new UnwritableStops();
    const lab = await makeLab({ gateway: { stops } });
    const access = lab.access({ password: 'stale' });
    await failure(lab, new IpmiPower(lab.gateway, access).status());
    stops.full = false;
    await lab.clock.until(lab.gateway.retry('10.0.0.20:623'));
    expect(await stops.read('10.0.0.20:623')).toBeUndefined();
    expect(await failure(lab, new IpmiPower(lab.gateway, access).status())).toBe('IPMI_WRONG_PASSWORD');
    await lab.close();
  });
});

describe('what a person lifts on another replica', () => {
  it('002-2: is not written again by one whose store took no writes when the BMC refused', async () => {
    const stops = new MemoryStopKeeper();
    let full = true;
    const own = Object.assign(Object.create(stops) as MemoryStopKeeper, {
      read: (bmc: string) => stops.read(bmc),
      wokenAt: (bmc: string) => stops.wokenAt(bmc),
      swap: (...change: Parameters<MemoryStopKeeper['swap']>) =>
        full ? Promise.reject(new Error('no space left on device')) : stops.swap(...change),
    });
    const lab = await makeLab({ gateway: { stops: own } });
    const power = new IpmiPower(lab.gateway, lab.access({ password: 'stale' }));
    expect(await failure(lab, power.status())).toBe('IPMI_WRONG_PASSWORD');
    const replica = new IpmiGateway({ clock: lab.clock, network: lab.network, logger: silentLogger, random: seededRandom(77), stops });
    await lab.clock.advance(1_000);
    await lab.clock.until(replica.retry('10.0.0.20:623'));
    full = false;
    expect(await failure(lab, power.status())).toBe('IPMI_WRONG_PASSWORD'); // asked anew, not held
    expect(await failure(lab, power.status())).toBe('IPMI_AUTH_HELD');
    await lab.clock.until(replica.close());
    await lab.close();
  });

  it('002-2: is heard by one that began while its clock ran ahead', async () => {
    const stops = new MemoryStopKeeper();
    const lab = await makeLab({ gateway: { schedule: () => [100], stops } });
    const now = lab.clock.now.bind(lab.clock);
    lab.clock.now = () => now() + 3_600_000;
    const power = new IpmiPower(lab.gateway, lab.access());
    lab.bmc.faults.dead = true;
    await failure(lab, power.status());
    lab.clock.now = now;
    for (let i = 0; i < 5; i++) {
      await failure(lab, power.status());
      await lab.clock.advance(20_000);
    }
    while ((await failure(lab, power.status())) !== 'IPMI_BMC_RESTING');
    lab.bmc.faults.dead = false;
    await stops.wake('10.0.0.20:623', now());
    await lab.clock.advance(5_100);
    expect(await lab.clock.until(power.status())).toBe('off');
    await lab.close();
  });
});

describe('replicas that change a stop at the same moment', () => {
  /** Another replica writes between this one's look and its removal, once. */
  class ContestedStops extends MemoryStopKeeper {
    contested = false;

    override async swap(...[bmc, before, next]: Parameters<MemoryStopKeeper['swap']>): Promise<boolean> {
      if (this.contested && before && !next) {
        this.contested = false;
        await super.swap(bmc, before, { ...before, probeAtMs: before.probeAtMs + 1 });
      }
      return super.swap(bmc, before, next);
    }
  }

  it('002-2: what a person lifts is lifted', async () => {
    const stops = new ContestedStops();
    const lab = await makeLab({ gateway: { stops } });
    await failure(lab, new IpmiPower(lab.gateway, lab.access({ password: 'stale' })).status());
    const replica = new IpmiGateway({ clock: lab.clock, network: lab.network, logger: silentLogger, random: seededRandom(77), stops });
    stops.contested = true;
    await lab.clock.until(replica.retry('10.0.0.20:623'));
    expect(await stops.read('10.0.0.20:623')).toBeUndefined();
    await lab.clock.until(replica.close());
    await lab.close();
  });

  it('002-2: credentials that the BMC took are not held at the next log-in', async () => {
    const stops = new ContestedStops();
    const lab = await makeLab({ gateway: { stops } });
    const power = new IpmiPower(lab.gateway, lab.access());
    lab.bmc.faults.authFailure = true;
    expect(await failure(lab, power.status())).toBe('IPMI_WRONG_PASSWORD');
    lab.bmc.faults.authFailure = false;
    await lab.clock.advance(3_600_000);
    stops.contested = true;
    expect(await lab.clock.until(power.status())).toBe('off'); // the lone probe
    await lab.clock.until(power.close());
    expect(await lab.clock.until(power.status())).toBe('off');
    await lab.close();
  });
});

describe('the gateway', () => {
  it('002-2: one log-in serves all commands of all callers', async () => {
    const lab = await makeLab();
    const polls = Array.from({ length: 40 }, () => new IpmiPower(lab.gateway, lab.access()).status());
    expect(await lab.clock.until(Promise.all(polls))).toEqual(Array(40).fill('off'));
    expect(lab.bmc.sessions.logIns).toBe(1);
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
    // boot options are not shared: each is a packet of its own
    await lab.clock.until(Promise.all(Array.from({ length: 32 }, () => lab.gateway.run(access, getBootOption(5)))));
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
    expect(lab.bmc.sessions.logIns).toBe(2);
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
    expect(lab.bmc.sessions.logIns).toBe(1);
    expect(lab.bmc.count(6, 0x01)).toBeGreaterThanOrEqual(4);
    await lab.clock.advance(231_000);
    expect(lab.gateway.stats().sessions).toBe(0);
    expect(lab.bmc.sessions.active).toBe(0);
    expect(lab.clock.pending).toBe(0); // no timer is left behind
    await lab.close();
  });

  it('002-2: a BMC that is too busy for a keep-alive has answered: its session is kept, and leaves it no dead one', async () => {
    const lab = await makeLab();
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.status());
    lab.bmc.faults.busy = 4;
    await lab.clock.advance(40_000);
    expect(lab.bmc.faults.busy).toBe(0);
    expect(await lab.clock.until(power.status())).toBe('off');
    expect(lab.bmc.sessions).toMatchObject({ active: 1, logIns: 1 });
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

  it('002-2: a command that waits for a busy BMC fails too when the gateway closes', async () => {
    const lab = await makeLab();
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.status());
    lab.bmc.faults.busy = 9;
    const underWay = power.status().catch((error: { code?: string }) => error.code);
    await lab.clock.advance(100);
    await lab.clock.until(lab.gateway.close());
    expect(await lab.clock.until(underWay)).toBe('POWER_GATEWAY_CLOSED');
    await lab.bmc.close();
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
