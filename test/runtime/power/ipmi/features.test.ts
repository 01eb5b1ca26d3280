/** Sensors, event log, users, LAN parameters, cipher suites and consoles against the simulated BMC, through faults, on a virtual clock. */
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { IpmiGateway, IpmiPower, Secret, softPowerOff } from 'cdk8s-baremetal-runtime/power/index';
import {
  chassisControl,
  coldReset,
  eraseSel,
  getChassisStatus,
  getRestartCause,
  getSelInfo,
  getSystemGuid,
  type IpmiSession,
  type RunCommand,
  readLanParameters,
  readSdrs,
  readSel,
  readSensor,
  readSensors,
  readUsers,
  SolConsole,
  setPassword,
  testPassword,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { analogSensor, type SerialPort, type SimulatedBmcOptions } from 'cdk8s-baremetal-simulator/bmc/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { badWire, failure, type Lab, makeLab, seededRandom } from '../support.ts';

const runIn = (lab: Lab, privilege: 'user' | 'operator' | 'administrator' = 'administrator'): RunCommand => {
  const access = { ...lab.access(), privilege };
  return (command, signal) => lab.gateway.run(access, command, signal);
};

describe('sensors', () => {
  it('002-2: names, values, units, thresholds and states of a server', async () => {
    const lab = await makeLab();
    const sensors = await lab.clock.until(readSensors(runIn(lab, 'user')));
    expect(sensors.map(({ name, value, health, missing }) => [name, value, health, missing])).toEqual([
      ['Inlet Temp', 23, 'ok', undefined],
      ['CPU Temp', undefined, 'unknown', 'the BMC has no reading now'],
      ['Fan 1', undefined, 'unknown', 'the BMC has no reading now'],
      ['P12V', undefined, 'unknown', 'the BMC has no reading now'],
      ['Power Draw', 12, 'ok', undefined],
      ['PSU 1', undefined, 'ok', undefined],
      ['ACPI State', undefined, 'ok', undefined],
      ['Intrusion', undefined, 'ok', undefined],
    ]);
    expect(sensors[0]).toMatchObject({ unit: '°C', thresholds: { lowerCritical: -5, upperNonCritical: 38, upperCritical: 42 } });
    expect(sensors[6]?.states).toEqual(['S5/G2 soft off']);
    lab.chassis.powered = true;
    const on = await lab.clock.until(readSensors(runIn(lab, 'user')));
    expect(on.slice(1, 4).map(({ value, unit }) => `${value} ${unit}`)).toEqual(['54 °C', '4200 rpm', '12.096 V']);
    await lab.close();
  });

  it('002-2: a sensor beyond its limits, and one whose factors depend on the reading', async () => {
    const hot = analogSensor(
      {
        number: 1,
        name: 'Hot',
        sensorType: 1,
        analog: { thresholds: { upperNonCritical: 80, upperCritical: 90, upperNonRecoverable: 100 } },
      },
      () => 93,
    );
    const bent = {
      ...analogSensor({ number: 2, name: 'Bent', sensorType: 2, analog: { linearization: 0x70 } }, () => 40),
      factors: (raw: number) => ({ m: raw, b: 0, bExponent: 0, rExponent: -2 }),
    };
    const lab = await makeLab({ bmc: { sensors: [hot, bent] } });
    const sensors = await lab.clock.until(readSensors(runIn(lab)));
    expect(sensors).toMatchObject([
      { name: 'Hot', value: 93, health: 'critical' },
      { name: 'Bent', value: 16, health: 'ok' }, // 40 · 40 · 10⁻²
    ]);
    await lab.close();
  });

  it.each([
    { name: 'a BMC that gives 8 bytes at a time', faults: { sdrPieceBytes: 8 } },
    { name: 'records that change under the walk', faults: { sdrReservationsLost: 3 } },
    { name: 'lost packets', faults: { lossPercent: 10 } },
  ])('002-2: the walk gets through: $name', async ({ faults }) => {
    const lab = await makeLab({ bmc: { faults }, gateway: { schedule: () => Array(12).fill(200) } });
    const records = await lab.clock.until(readSdrs(runIn(lab)));
    expect(records).toHaveLength(8);
    await lab.close();
  });

  it('a sensor with thresholds and without a number tells by its health which it crossed', async () => {
    const head = { owner: 0x20, lun: 0, number: 9, entity: 7, entityInstance: 1, readableMask: 0x3f };
    const record = { kind: 'sensor' as const, id: 1, name: 'VRM', ...head, sensorType: 1, eventType: 1 };
    const answering = (comparison: number): RunCommand => {
      return async (command) => command.parse(Buffer.from([0, 0xc0, 0xc0 | comparison])); // Table 35-15: bits 7:6 are sent as 1
    };
    expect(await readSensor(answering(0), record)).toMatchObject({ health: 'ok', states: [] });
    expect(await readSensor(answering(0b001000), record)).toMatchObject({ health: 'warning', states: [] });
    expect(await readSensor(answering(0b011000), record)).toMatchObject({ health: 'critical', states: [] });
  });

  it('a BMC without sensors has none', async () => {
    const lab = await makeLab({ bmc: { sensors: [] } });
    expect(await lab.clock.until(readSensors(runIn(lab)))).toEqual([]);
    await lab.close();
  });
});

describe('event log, restart cause, GUID', () => {
  it('002-2: says what happened to the power, is erased, and is empty then', async () => {
    const guid = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
    const lab = await makeLab({ bmc: { guid } });
    const run = runIn(lab);
    const all = async (): Promise<string[]> => {
      const found: string[] = [];
      for await (const { event } of readSel(run)) found.push(event?.text ?? '');
      return found;
    };
    expect(await lab.clock.until(all())).toEqual([]);
    await lab.clock.until(run(chassisControl('on')));
    await lab.clock.until(run(chassisControl('off')));
    expect(await lab.clock.until(all())).toEqual(['ACPI power state: S0/G0 working', 'ACPI power state: S5/G2 soft off']);
    expect(await lab.clock.until(run(getRestartCause))).toEqual({ code: 1, cause: 'Chassis Control command' });
    expect((await lab.clock.until(run(getSystemGuid))).raw).toBe(guid.toString('hex'));
    await lab.clock.until(eraseSel(run, lab.clock));
    expect(await lab.clock.until(run(getSelInfo))).toMatchObject({ entries: 0, overflow: false });
    expect(await lab.clock.until(all())).toEqual([]);
    await lab.close();
  });

  it('a log that the BMC never calls erased is not called empty', async () => {
    const lab = await makeLab();
    const inProgress: RunCommand = async (command) => command.parse(Buffer.from([0, 0]));
    expect(await failure(lab, eraseSel(inProgress, lab.clock))).toBe('IPMI_SEL_NOT_ERASED');
    await lab.close();
  });

  it('002-2: diagnostic interrupt and soft off reach the machine; a machine that does not listen is cut off', async () => {
    const lab = await makeLab();
    const heard: string[] = [];
    Object.assign(lab.chassis, { diagnosticInterrupt: () => heard.push('nmi'), softOff: () => heard.push('soft') });
    lab.chassis.powered = true;
    await lab.clock.until(runIn(lab)(chassisControl('diagnosticInterrupt')));
    const power = new IpmiPower(lab.gateway, lab.access());
    const outcome = await lab.clock.until(softPowerOff(power, { clock: lab.clock, logger: silentLogger, deadlineMs: 5000 }));
    expect(outcome).toMatchObject({ state: 'deleted', cut: true });
    expect(heard).toEqual(['nmi', 'soft']);
    expect(lab.chassis.powered).toBe(false);
    await lab.close();
  });
});

describe('users and LAN parameters', () => {
  it('002-2: lists users, sets and tests passwords of 16 and 20 bytes; the new one opens a session', async () => {
    const lab = await makeLab();
    const run = runIn(lab);
    const users = await lab.clock.until(readUsers(run));
    expect(users.map(({ id, name, privilege }) => [id, name, privilege])).toEqual([
      [2, 'admin', 4],
      [3, 'op', 3],
      [4, 'viewer', 2],
      [5, 'nopass', 4],
    ]);
    expect(await lab.clock.until(testPassword(run, 3, 'operate'))).toBe(16);
    expect(await lab.clock.until(testPassword(run, 3, 'guess'))).toBeUndefined();
    for (const [password, bytes] of [
      ['exactly-16-bytes', 16],
      ['exactly-twenty-bytes', 20],
      ['pässwörd-ŝ', 16],
    ] as const) {
      expect(await lab.clock.until(setPassword(run, 3, password))).toBe(bytes);
      expect(await lab.clock.until(testPassword(run, 3, password))).toBe(bytes);
      const own = new IpmiGateway({ clock: lab.clock, network: lab.network, logger: silentLogger, random: seededRandom(5) });
      expect(await lab.clock.until(new IpmiPower(own, lab.access({ username: 'op', password })).status())).toBe('off');
      await lab.clock.until(own.close());
    }
    expect(await lab.clock.until(readLanParameters(run))).toMatchObject({
      address: '10.0.0.20',
      source: 'static',
      mask: '255.255.255.0',
      cipherSuites: [17, 3],
    });
    await lab.close();
  });

  it.each([0xc7, 0xcc])('002-2: a BMC that keeps 16 bytes only and answers 20 with %i is tested with 16', async (completionCode) => {
    const sizes: number[] = [];
    const run: RunCommand = async ({ data, parse }) => {
      sizes.push(data.length - 2);
      if (data.length > 18) throw Object.assign(new Error('IPMI_COMPLETION'), { completionCode });
      return parse(Buffer.alloc(0));
    };
    expect(await testPassword(run, 3, 'operate')).toBe(16);
    expect(sizes).toEqual([20, 16]);
    await expect(testPassword(run, 3, 'seventeen-bytes-!')).rejects.toMatchObject({ completionCode });
  });

  it('002-2: a user may not change users; a session is not raised for looks', async () => {
    const lab = await makeLab();
    const viewer = { ...lab.access({ username: 'viewer', password: 'look' }), privilege: 'user' as const };
    expect(await failure(lab, lab.gateway.run(viewer, chassisControl('on')))).toBe('IPMI_PRIVILEGE_REFUSED');
    expect(lab.chassis.events).toEqual([]);
    await lab.clock.until(lab.gateway.run(viewer, getChassisStatus));
    expect(lab.bmc.count(6, 0x3b)).toBe(0);
    await lab.close();
  });
});

describe('cipher suites', () => {
  it.each([17, 3, 2, 1, 0] as const)('002-2: suite %i by name', async (cipherSuite) => {
    const lab = await makeLab({ bmc: { cipherSuites: [17, 3, 2, 1, 0] } });
    const access = lab.access({ cipherSuite });
    expect(await lab.clock.until(new IpmiPower(lab.gateway, access).status())).toBe('off');
    await lab.clock.until(lab.gateway.run(access, chassisControl('on')));
    expect(lab.gateway.statuses()).toMatchObject([{ cipherSuite }]);
    await lab.close();
  });

  it('002-2: the best of what the BMC lists, at once; never a weak one unasked', async () => {
    const best = await makeLab({ bmc: { cipherSuites: [3, 2, 1, 0] } });
    await best.clock.until(new IpmiPower(best.gateway, best.access()).status());
    expect(best.gateway.statuses()).toMatchObject([{ cipherSuite: 3 }]);
    await best.close();
    const weak = await makeLab({ bmc: { cipherSuites: [2, 1, 0] } });
    expect(await failure(weak, new IpmiPower(weak.gateway, weak.access()).status())).toBe('IPMI_CIPHER_SUITE_UNSUPPORTED');
    await weak.close();
  });

  it('002-2: what the first log-in found out is not asked again', async () => {
    const lab = await makeLab({ bmc: { cipherSuites: [3] } });
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(power.status());
    const first = lab.network.log.length;
    await lab.clock.until(power.close());
    await lab.clock.advance(10);
    const closed = lab.network.log.length;
    await lab.clock.until(power.status());
    expect(first).toBe(12); // capabilities, suites, Open Session, RAKP 1 and 3, the look; each with its answer
    expect(lab.network.log.length - closed).toBe(8); // Open Session, RAKP 1 and 3, the look
    await lab.close();
  });
});

/** A serial port that repeats what it hears, in capitals. */
class Echo implements SerialPort {
  heard = '';
  breaks = 0;
  say: ((data: Uint8Array) => void) | undefined;

  input(data: Uint8Array): void {
    const text = Buffer.from(data).toString('latin1');
    this.heard += text;
    this.say?.(Buffer.from(text.toUpperCase(), 'latin1'));
  }

  break(): void {
    this.breaks += 1;
  }

  output(listener: ((data: Uint8Array) => void) | undefined): void {
    this.say = listener;
  }
}

async function consoleLab(options: Partial<SimulatedBmcOptions> = {}, loss?: { loss: number; duplicate: number; reorder: number }) {
  const serial = new Echo();
  const lab = await makeLab({ bmc: { serial, ...options }, gateway: { schedule: () => Array(20).fill(300) }, seed: 3 });
  const session = await lab.clock.until(lab.gateway.session(lab.access()));
  if (loss) lab.network.wire = badWire(7, loss);
  let shown = '';
  const events: string[] = [];
  const open = (over: { session?: IpmiSession; force?: boolean } = {}): Promise<SolConsole> =>
    SolConsole.open({
      session,
      clock: lab.clock,
      onData: (data) => {
        shown += Buffer.from(data).toString('latin1');
      },
      onEvent: (event) => events.push(event),
      ...over,
    });
  return { lab, serial, open, shown: () => shown, events };
}

describe('serial over LAN', () => {
  it('002-2: characters both ways, a break, and an end that leaves nothing behind', async () => {
    const { lab, serial, open, shown } = await consoleLab();
    const console_ = await lab.clock.until(open());
    await lab.clock.advance(20);
    console_.write(Buffer.from('hello'));
    console_.sendBreak();
    await lab.clock.advance(100);
    expect([serial.heard, shown(), serial.breaks]).toEqual(['hello', 'HELLO', 1]);
    await lab.clock.until(console_.close());
    expect(await console_.ended).toBeUndefined();
    expect(lab.bmc.sol.session).toBeUndefined();
    await lab.close();
    expect(lab.clock.pending).toBe(0);
  });

  it.each([
    { name: 'a clean wire', loss: { loss: 0, duplicate: 0, reorder: 0 } },
    { name: '20 of 100 lost', loss: { loss: 20, duplicate: 0, reorder: 0 } },
    { name: 'lost, repeated and out of order', loss: { loss: 10, duplicate: 20, reorder: 20 } },
  ])('002-2: 3,000 characters arrive in order over $name', async ({ loss }) => {
    const { lab, serial, open, shown } = await consoleLab({}, loss);
    const console_ = await lab.clock.until(open());
    await lab.clock.advance(20);
    const text = Array.from({ length: 600 }, (_, i) => String(i).padStart(4, 'x')).join('-');
    console_.write(Buffer.from(text));
    await lab.clock.advance(120_000);
    expect(serial.heard).toBe(text);
    expect(shown()).toBe(text.toUpperCase());
    lab.network.wire = { fate: () => [0.1] };
    await lab.clock.until(console_.close());
    await lab.close();
  });

  it('002-2: refused characters are sent again', async () => {
    const { lab, serial, open } = await consoleLab();
    const console_ = await lab.clock.until(open());
    lab.bmc.sol.nacks = 2;
    console_.write(Buffer.from('again'));
    await lab.clock.advance(5000);
    expect(serial.heard).toBe('again');
    await lab.clock.until(console_.close());
    await lab.close();
  });

  it('002-2: one console at a time; --force takes it away, and the other hears of it', async () => {
    const { lab, open } = await consoleLab();
    const first = await lab.clock.until(open());
    const second = await lab.clock.until(lab.gateway.session(lab.access()));
    expect(await failure(lab, open({ session: second }))).toBe('IPMI_SOL_REFUSED');
    const third = await lab.clock.until(lab.gateway.session(lab.access()));
    const taken = await lab.clock.until(open({ session: third, force: true }));
    expect(await lab.clock.until(first.ended)).toMatchObject({ code: 'IPMI_CONSOLE_LOST' });
    await lab.clock.until(taken.close());
    await lab.close();
  });

  it('002-2: a BMC that dies ends the console, and not the process', async () => {
    const { lab, open } = await consoleLab();
    const console_ = await lab.clock.until(open());
    lab.bmc.faults.dead = true;
    expect(await lab.clock.until(console_.ended)).toMatchObject({ code: 'IPMI_CONSOLE_LOST' });
    await lab.close();
  });

  it('a BMC without a serial port refuses', async () => {
    const lab = await makeLab();
    const session = await lab.clock.until(lab.gateway.session(lab.access()));
    const options = { session, clock: lab.clock, onData: () => undefined };
    expect(await failure(lab, SolConsole.open(options))).toBe('IPMI_SOL_REFUSED');
    await lab.close();
  });

  it('fuzz: whatever a BMC sends in place of SOL packets, the console lives', async () => {
    const { lab, open, serial } = await consoleLab();
    const console_ = await lab.clock.until(open());
    await lab.clock.advance(20);
    for (const data of fc.sample(fc.uint8Array({ maxLength: 12 }), { numRuns: 300, seed: 4 })) {
      if (((data[3] ?? 0) & 0x10) === 0) lab.bmc.sendRaw(data);
      await lab.clock.advance(1);
    }
    console_.write(Buffer.from('still here'));
    await lab.clock.advance(20_000);
    expect(serial.heard.endsWith('still here')).toBe(true);
    await lab.clock.until(console_.close());
    await lab.close();
  });
});

describe('a BMC that restarts', () => {
  it('002-2: Cold Reset: silent for a while, then back by itself, without a refused log-in', async () => {
    const lab = await makeLab({ bmc: { faults: { restartMs: 30_000 } } });
    const power = new IpmiPower(lab.gateway, lab.access());
    await lab.clock.until(lab.gateway.run({ ...lab.access(), privilege: 'administrator' }, coldReset));
    await lab.clock.advance(10);
    expect(await failure(lab, power.status())).toBe('IPMI_NO_ANSWER');
    await lab.clock.advance(60_000);
    expect(await lab.clock.until(power.status())).toBe('off');
    await lab.close();
  });

  it('002-2: every way of not getting in has a code of its own', async () => {
    const lab = await makeLab({ gateway: { schedule: () => [100, 200], probeEveryMs: 0 } });
    const status = (overrides: Parameters<Lab['access']>[0]): Promise<string> =>
      failure(lab, new IpmiPower(lab.gateway, lab.access(overrides)).status());
    expect(await status({ password: 'wrong' })).toBe('IPMI_WRONG_PASSWORD');
    expect(await status({ username: 'nobody' })).toBe('IPMI_WRONG_USER');
    expect(await status({ username: 'viewer', password: 'look', privilege: 'administrator' })).toBe('IPMI_PRIVILEGE_REFUSED');
    expect(await status({ address: '10.0.0.99' })).toBe('IPMI_NO_ANSWER'); // nobody there
    lab.bmc.faults.sessionTableFull = true;
    expect(await status({})).toBe('IPMI_SESSION_REFUSED');
    lab.bmc.faults.sessionTableFull = false;
    lab.bmc.faults.authFailure = true;
    expect(await status({})).toBe('IPMI_WRONG_PASSWORD');
    const echo = await lab.network.udp({ address: '10.0.0.50', port: 623 }, { onMessage: (data, from, socket) => socket.send(data, from) });
    expect(await status({ address: '10.0.0.50' })).toBe('IPMI_NO_ANSWER'); // something that is no BMC
    await echo.close();
    expect(() => new IpmiPower(lab.gateway, { address: '10.0.0.20', username: 'u', password: new Secret('x'.repeat(21)) })).toThrow(
      expect.objectContaining({ code: 'POWER_ACCESS_INVALID' }),
    );
    await lab.close();
  });
});
