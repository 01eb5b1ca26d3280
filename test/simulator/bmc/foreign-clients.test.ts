/** ipmitool and FreeIPMI's ipmipower, as Debian ships them, against the simulated BMC on loopback. Passwords go through files, never argv. */
import { execFile, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { type SerialPort, SimulatedBmc } from 'cdk8s-baremetal-simulator/bmc/index';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { available, TestChassis, USERS } from '../../runtime/power/support.ts';

const hasIpmitool = available('ipmitool', 'ipmitool');
const hasIpmipower = available('ipmipower', 'freeipmi-tools');
const hasScript = available('script', 'bsdutils');
const PYTHON = '/usr/bin/python3';
const hasPyghmi = spawnSync(PYTHON, ['-c', 'import pyghmi.ipmi.command']).status === 0;
if (!hasPyghmi)
  console.warn('SKIPPED: pyghmi is missing (Debian package python3-pyghmi); it is not tried as a client of the simulated BMC');

interface Run {
  readonly code: number;
  readonly output: string;
}

function run(program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: 25_000, env: { PATH: `${process.env.PATH}:/usr/sbin`, ...env } }, (error, stdout, stderr) => {
      const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0;
      resolve({ code, output: stdout + stderr });
    });
  });
}

/** In a terminal of its own (util-linux's `script`); each text is typed when the one before it was shown. */
function typed(command: string, dialogue: readonly { readonly shown: RegExp; readonly type: string }[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env: { PATH: `${process.env.PATH}:/usr/sbin`, HOME: directory, TERM: 'dumb' },
    });
    let output = '';
    let step = 0;
    child.stdout.on('data', (chunk) => {
      output += chunk;
      const next = dialogue[step];
      if (!next?.shown.test(output)) return;
      step += 1;
      child.stdin.write(next.type);
    });
    const limit = setTimeout(() => child.kill('SIGKILL'), 20_000);
    child.once('close', () => {
      clearTimeout(limit);
      resolve(output);
    });
  });
}

/** The machine's serial port: a prompt, and what is typed in capitals. */
class Prompt implements SerialPort {
  #say: ((data: Uint8Array) => void) | undefined;

  input(data: Uint8Array): void {
    this.#say?.(Buffer.from(Buffer.from(data).toString('latin1').toUpperCase(), 'latin1'));
  }

  output(listener: ((data: Uint8Array) => void) | undefined): void {
    this.#say = listener;
    listener?.(Buffer.from('ready> '));
  }
}

let directory: string;
let bmc: SimulatedBmc;
let chassis: TestChassis;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bmc-'));
  await writeFile(join(directory, 'right'), 'correct-horse', { mode: 0o600 });
  await writeFile(join(directory, 'wrong'), 'wrong', { mode: 0o600 });
});

afterAll(() => rm(directory, { recursive: true, force: true }));

beforeEach(async () => {
  chassis = new TestChassis();
  bmc = await startBmc(0);
  return () => bmc.close();
});

function startBmc(port: number): Promise<SimulatedBmc> {
  const deps = { clock: nodeClock, network: nodeNetwork, random: nodeRandom, logger: silentLogger };
  return SimulatedBmc.start({ ...deps, address: '127.0.0.1', port, users: USERS, chassis, serial: new Prompt() });
}

describe.skipIf(!hasIpmitool)('ipmitool', () => {
  const ipmitool = (words: string, suite: number | undefined, user = 'admin', file = 'right'): Promise<Run> => {
    const where = ['-I', 'lanplus', '-H', '127.0.0.1', '-p', String(bmc.local.port)];
    const who = ['-U', user, '-f', join(directory, file)];
    return run('ipmitool', [...where, ...who, ...(suite === undefined ? [] : ['-C', String(suite)]), ...words.split(' ')]);
  };

  describe.each([3, 17])('-C %i', (suite) => {
    it('002-2: chassis status, power on, off and status', async () => {
      expect((await ipmitool('chassis status', suite)).output).toMatch(/System Power\s*: off/);
      expect(await ipmitool('power on', suite)).toEqual({ code: 0, output: 'Chassis Power Control: Up/On\n' });
      expect(await ipmitool('power status', suite)).toEqual({ code: 0, output: 'Chassis Power is on\n' });
      expect(await ipmitool('power off', suite)).toEqual({ code: 0, output: 'Chassis Power Control: Down/Off\n' });
      expect(await ipmitool('power status', suite)).toEqual({ code: 0, output: 'Chassis Power is off\n' });
      expect(chassis.events).toEqual(['on none', 'off']);
    });

    it('002-2: bootdev pxe options=persistent, read back by bootparam get 5', async () => {
      expect(await ipmitool('chassis bootdev pxe options=persistent', suite)).toMatchObject({ code: 0 });
      const { output } = await ipmitool('chassis bootparam get 5', suite);
      expect(output).toContain('Boot parameter data: c004000000');
      expect(output).toContain('Force PXE');
      expect(bmc.bootFlags).toEqual({ valid: true, persistent: true, efi: false, selector: 1 });
      await ipmitool('power on', suite);
      await ipmitool('power reset', suite);
      expect(chassis.events).toEqual(['on pxe', 'reset pxe']);
    });

    it('002-2: mc info', async () => {
      const { code, output } = await ipmitool('mc info', suite);
      expect(code).toBe(0);
      expect(output).toMatch(/IPMI Version\s*: 2\.0/);
      expect(output).toMatch(/Manufacturer ID\s*: 48879/);
    });

    it('002-2: wrong password and wrong user are refused', async () => {
      expect(await ipmitool('power on', suite, 'admin', 'wrong')).toMatchObject({ code: 1 });
      expect(await ipmitool('power on', suite, 'nobody')).toMatchObject({ code: 1 });
      expect(chassis.events).toEqual([]);
    });
  });

  it('002-2: finds the best suite by itself', async () => {
    expect(await ipmitool('power status', undefined)).toEqual({ code: 0, output: 'Chassis Power is off\n' });
  });

  it('002-2: UEFI, one time', async () => {
    await ipmitool('chassis bootdev disk options=efiboot', 17);
    expect(bmc.bootFlags).toEqual({ valid: true, persistent: false, efi: true, selector: 2 });
  });

  it('002-2: a user-level account may look and not touch', async () => {
    await writeFile(join(directory, 'viewer'), 'look', { mode: 0o600 });
    const where = ['-I', 'lanplus', '-H', '127.0.0.1', '-p', String(bmc.local.port), '-C', '17', '-L', 'USER'];
    const who = ['-U', 'viewer', '-f', join(directory, 'viewer')];
    expect(await run('ipmitool', [...where, ...who, 'power', 'status'])).toMatchObject({ code: 0 });
    const refused = await run('ipmitool', [...where, ...who, 'power', 'on']);
    expect(refused.code).not.toBe(0);
    expect(refused.output).toContain('nsufficient privilege');
    expect(chassis.events).toEqual([]);
  });

  it('002-2: sdr list and sensor limits', async () => {
    chassis.powered = true;
    const { code, output } = await ipmitool('sdr list', 17);
    expect(code).toBe(0);
    expect(output).toMatch(/^Inlet Temp\s+\| 23 degrees C\s+\| ok$/m);
    expect(output).toMatch(/^Fan 1\s+\| 4200 RPM\s+\| ok$/m);
    expect(output).toMatch(/^P12V\s+\| 12\.10 Volts\s+\| ok$/m);
    expect((await ipmitool('sensor list', 3)).output).toMatch(/^Inlet Temp\s+\| 23\.000 .*-5\.000 .*38\.000\s+\| 42\.000/m);
  });

  it('002-2: sel list, info and clear', async () => {
    await ipmitool('power on', 3);
    expect((await ipmitool('sel elist', 3)).output).toMatch(/ACPI State \| S0\/G0: working \| Asserted/);
    expect((await ipmitool('sel info', 3)).output).toMatch(/Entries\s+: 1/);
    expect((await ipmitool('sel clear', 3)).code).toBe(0);
    expect((await ipmitool('sel list', 3)).output).toContain('SEL has no entries');
  });

  it('002-2: user list; a password set and tested; lan print; restart cause; guid', async () => {
    expect((await ipmitool('user list 1', 17)).output).toMatch(/^4\s+viewer\s.*USER$/m);
    expect((await ipmitool('user set password 4 another-look', 17)).code).toBe(0);
    expect((await ipmitool('user test 4 16 another-look', 17)).output).toContain('Success');
    await writeFile(join(directory, 'another'), 'another-look', { mode: 0o600 });
    expect((await ipmitool('-L USER power status', 17, 'viewer', 'another')).output).toContain('Chassis Power is off');
    expect((await ipmitool('lan print 1', 17)).output).toMatch(/IP Address\s+: 127\.0\.0\.1/);
    expect((await ipmitool('chassis restart_cause', 17)).output).toContain('unknown');
    expect((await ipmitool('mc guid', 17)).code).toBe(0);
    expect((await ipmitool('mc reset cold', 17)).code).toBe(0);
  });

  it.skipIf(!hasScript)('002-2: sol activate', async () => {
    const where = `-I lanplus -H 127.0.0.1 -p ${bmc.local.port} -C 17 -U admin -f ${join(directory, 'right')}`;
    const output = await typed(`ipmitool ${where} sol activate`, [
      { shown: /ready> /, type: 'hello' },
      { shown: /HELLO/, type: '\r~.' },
    ]);
    expect(output).toContain('HELLO');
    expect(output).toContain('[terminated ipmitool]');
  });

  it('002-2: gets through to a BMC that loses packets', async () => {
    bmc.faults.dropRequests = 1;
    expect(await ipmitool('power status', 3)).toEqual({ code: 0, output: 'Chassis Power is off\n' });
  });
});

describe.skipIf(!hasIpmipower)('ipmipower', () => {
  it.each([3, 17])('002-2: -I %i: stat, on, off', async (suite) => {
    const config = join(directory, 'freeipmi.conf');
    await writeFile(config, 'username admin\npassword correct-horse\n', { mode: 0o600 });
    const where = ['-D', 'LAN_2_0', '-h', `127.0.0.1:${bmc.local.port}`, '--config-file', config, '-I', String(suite)];
    const ipmipower = (action: string): Promise<Run> => run('ipmipower', [...where, action]);
    expect((await ipmipower('--stat')).output).toMatch(/: off$/m);
    expect((await ipmipower('--on')).output).toMatch(/: ok$/m);
    expect((await ipmipower('--stat')).output).toMatch(/: on$/m);
    expect((await ipmipower('--off')).output).toMatch(/: ok$/m);
    expect(chassis.events).toEqual(['on none', 'off']);
  });
});

describe.skipIf(!hasIpmipower)('the other programs of FreeIPMI', () => {
  const freeipmi = async (program: string, args: readonly string[] = []): Promise<Run> => {
    const config = join(directory, 'freeipmi.conf');
    await writeFile(config, 'username admin\npassword correct-horse\n', { mode: 0o600 });
    const cache = ['ipmi-sensors', 'ipmi-sel'].includes(program) ? ['--sdr-cache-directory', directory, '--quiet-cache'] : [];
    return run(program, ['-D', 'LAN_2_0', '-h', `127.0.0.1:${bmc.local.port}`, '--config-file', config, ...cache, ...args], {
      HOME: directory,
    });
  };

  it('002-2: ipmi-sensors', async () => {
    chassis.powered = true;
    const { output } = await freeipmi('ipmi-sensors');
    expect(output).toMatch(/Inlet Temp \| Temperature\s+\| 23\.00\s+\| C\s+\| 'OK'/);
    expect(output).toMatch(/P12V\s+\| Voltage\s+\| 12\.10\s+\| V/);
    expect(output).toMatch(/ACPI State \| System ACPI Power State .*'S0\/G0'/);
  });

  it('002-2: ipmi-sel', async () => {
    bmc.log.add({ sensorType: 1, sensor: 1, eventType: 1, offset: 9 });
    expect((await freeipmi('ipmi-sel')).output).toMatch(/Inlet Temp \| Temperature\s+\| Upper Critical - going high/);
    expect((await freeipmi('ipmi-sel', ['--clear'])).code).toBe(0);
    expect((await freeipmi('ipmi-sel', ['--info'])).output).toMatch(/Number of log entries\s+: 0/);
  });

  it.skipIf(!hasScript)('002-2: ipmiconsole', async () => {
    await freeipmi('bmc-info'); // writes the configuration
    // ipmiconsole 1.6.10 calls a host invalid when its port is above 32767
    await bmc.close();
    for (let port = 20_623; bmc.local.port > 32_767; port++) bmc = await startBmc(port).catch(() => bmc);
    const command = `ipmiconsole -h 127.0.0.1:${bmc.local.port} --config-file ${join(directory, 'freeipmi.conf')} -I 17`;
    const output = await typed(command, [
      { shown: /ready> /, type: 'hello' },
      { shown: /HELLO/, type: '&.' },
    ]);
    expect(output).toContain('HELLO');
    expect(output).toContain('[closing the connection]');
  });
});

describe.skipIf(!hasPyghmi)('pyghmi', () => {
  it('002-2: power, boot device, sensors, log, users', async () => {
    const program = [
      'import json, os',
      'from pyghmi.ipmi import command',
      `c = command.Command(bmc='127.0.0.1', port=${bmc.local.port}, userid='admin', password=os.environ['BMC_PASSWORD'])`,
      "before = c.get_power()['powerstate']",
      "c.set_power('on', wait=10)",
      "c.set_bootdev('network', persist=True, uefiboot=True)",
      'boot = c.get_bootdev()',
      'sensors = {s.name: s.value for s in c.get_sensor_data()}',
      "events = [e['component'] for e in c.get_event_log()]",
      "users = [u['name'] for u in c.get_users().values()]",
      "print(json.dumps([before, c.get_power()['powerstate'], boot, sensors, events, users]))",
    ].join('\n');
    const { code, output } = await run(PYTHON, ['-c', program], { BMC_PASSWORD: 'correct-horse' });
    expect(code, output).toBe(0);
    const [before, after, boot, sensors, events, users] = JSON.parse(output.trim().split('\n').at(-1) ?? '');
    expect([before, after]).toEqual(['off', 'on']);
    expect(boot).toMatchObject({ bootdev: 'network', persistent: true, uefimode: true });
    expect(sensors).toMatchObject({ 'Inlet Temp': 23, 'Fan 1': 4200 });
    expect(events).toEqual(['ACPI State']);
    expect(users).toEqual(['admin', 'op', 'viewer', 'nopass']);
  });
});
