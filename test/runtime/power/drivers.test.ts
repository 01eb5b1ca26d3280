/** Addresses of power drivers, and the drivers beside IPMI: an iBoot over real TCP, virtual machines through a program that answers for virsh and ssh. */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeProcesses } from 'cdk8s-baremetal-runtime/core/node-processes';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import type { ProcessCommand, Processes } from 'cdk8s-baremetal-runtime/core/processes';
import { decodeDxp, encodeDxp } from 'cdk8s-baremetal-runtime/power/iboot/dxp';
import {
  IpmiGateway,
  PowerDrivers,
  type PowerDriversOptions,
  parseNovaIBoot,
  parsePowerUrl,
  powerOff,
  powerOn,
  reboot,
  Secret,
} from 'cdk8s-baremetal-runtime/power/index';
import { SimulatedIBoot } from 'cdk8s-baremetal-simulator/bmc/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FUZZ_RUNS } from './support.ts';

const deps = { clock: nodeClock, network: nodeNetwork, random: nodeRandom, logger: silentLogger };
const cycle = { clock: nodeClock, logger: silentLogger, intervalMs: 5 };

function drivers(options: Partial<PowerDriversOptions> = {}): PowerDrivers {
  return new PowerDrivers({ ...deps, gateway: new IpmiGateway(deps), ...options });
}

const credentials = { username: 'admin', password: new Secret('secret') };

describe('addresses', () => {
  it.each([
    ['ipmi://10.0.0.20', { driver: 'ipmi', address: '10.0.0.20' }],
    [
      'ipmi://admin@10.0.0.20:6230?cipher=17&privilege=user',
      { address: '10.0.0.20', port: 6230, username: 'admin', cipherSuite: 17, privilege: 'user' },
    ],
    ['ipmi://[fd00::20]:623', { address: 'fd00::20', port: 623 }],
    ['iboot://10.0.0.30', { driver: 'iboot', address: '10.0.0.30', port: 9100, relay: 1 }],
    ['iboot://pdu-1.example:9101/3', { address: 'pdu-1.example', port: 9101, relay: 3 }],
    [
      'virtual+ssh://ops@hyper-1/web-1',
      { driver: 'virtual', machine: 'web-1', type: 'virsh', ssh: { host: 'hyper-1', port: 22, user: 'ops' } },
    ],
    [
      'virtual+ssh://hyper-1:2222/web-1?key=/etc/k&connect=qemu:///system',
      { connect: 'qemu:///system', ssh: { host: 'hyper-1', port: 2222, key: '/etc/k' } },
    ],
    [
      'virtual+exec:///web-1?type=program&program=/usr/local/sbin/lab-power',
      { machine: 'web-1', type: 'program', program: '/usr/local/sbin/lab-power' },
    ],
  ])('002-2: %s', (url, expected) => {
    expect(parsePowerUrl(url)).toMatchObject(expected);
  });

  it.each([
    ['ipmi://', /address is missing/],
    ['ipmi://admin:hunter2@10.0.0.1', /password/],
    ['ipmi://10.0.0.1/x', /nothing may follow/],
    ['ipmi://10.0.0.1?cipher=4', /cipher must be/],
    ['ipmi://10.0.0.1?color=red', /no parameter "color"/],
    ['iboot://10.0.0.30/0', /relay/],
    ['iboot://10.0.0.30/33', /relay/],
    ['redfish://10.0.0.1/x', /path of a system/],
    ['redfish://10.0.0.1?sha256=abc', /64 hexadecimal/],
    ['redfish://10.0.0.1?insecure=1', /no parameter/],
    ['telnet://10.0.0.1', /no scheme/],
    ['virtual+ssh://host/', /name of the machine/],
    ['virtual+ssh://host/a%20b', /name of the machine/],
    ['virtual+ssh://host/-rf', /name of the machine/],
    ['virtual+ssh://host/$(reboot)', /name of the machine/],
    ['virtual+ssh://host/a;b', /name of the machine/],
    ['virtual+ssh://-oProxyCommand=x/vm', /host is missing|cannot be read/],
    ['virtual+ssh://-l@host/vm', /user/],
    ['virtual+exec://host/vm', /runs on this machine/],
    ['virtual+exec:///vm?type=program', /program goes with/],
    ['virtual+exec:///vm?type=program&program=rm', /program/],
    ['virtual+ssh://host/vm?connect=qemu%3A%2F%2F%2F%60id%60', /connect/],
  ])('002-2: refuses %s', (url, problem) => {
    expect(() => parsePowerUrl(url)).toThrow(expect.objectContaining({ code: 'POWER_URL', message: expect.stringMatching(problem) }));
  });

  it.each([
    'ipmi://admin:hunter2@10.0.0.1',
    'ipmi://admin:pass@hunter2@10.0.0.1',
    'ipmi://admin:pass/hunter2@10.0.0.1',
    'ipmi://admin:pass?hunter2@10.0.0.1',
    'ipmi://admin:pass#hunter2@10.0.0.1',
    'redfish://root:pass/@hunter2@bmc-7/redfish/v1/Systems/1',
    'virtual+ssh://ops:hunter2/@host/vm',
    'ipmi:/admin:hunter2@10.0.0.1',
    'admin:hunter2@10.0.0.1',
  ])('a password in an address is not repeated: %s', (url) => {
    let said = '';
    try {
      parsePowerUrl(url);
    } catch (error) {
      said = String(error);
    }
    expect(said).toContain('is no address of a power driver');
    expect(said).not.toContain('hunter2');
  });

  it("002-2: nova's iBoot addresses", () => {
    expect(parseNovaIBoot('10.0.0.30', 'u')).toMatchObject({ address: '10.0.0.30', port: 9100, relay: 1 });
    expect(parseNovaIBoot('10.0.0.30:9101,2', 'u')).toMatchObject({ port: 9101, relay: 2 });
    for (const bad of ['10.0.0.30,x', '10.0.0.30:x', '10.0.0.30,0', '', 'a b'])
      expect(() => parseNovaIBoot(bad, 'u')).toThrow(expect.objectContaining({ code: 'POWER_URL' }));
  });

  it('fuzz: any text is an address or POWER_URL', () => {
    const schemes = fc.constantFrom('ipmi://', 'iboot://', 'virtual+ssh://', 'virtual+exec:///', '');
    const property = fc.property(schemes, fc.string({ maxLength: 40 }), (scheme, text) => {
      try {
        const target = parsePowerUrl(scheme + text);
        if (target.driver === 'virtual') expect(target.machine).toMatch(/^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/);
      } catch (error) {
        expect(error).toMatchObject({ code: 'POWER_URL' });
      }
    });
    fc.assert(property, { numRuns: FUZZ_RUNS });
  });
});

describe('iBoot', () => {
  const start = () =>
    SimulatedIBoot.start({ network: nodeNetwork, address: '127.0.0.1', port: 0, username: 'admin', password: 'secret', relays: 3 });

  it('the request on the wire', () => {
    const request = { username: 'admin', password: 'secret', descriptor: 1, sequence: 0x1234, payload: Uint8Array.of(2, 1) };
    const wire = encodeDxp(request);
    const name = (text: string): string => Buffer.from(text).toString('hex').padEnd(42, '0');
    expect(wire.toString('hex')).toBe(`03${name('admin')}${name('secret')}01003412${'0201'}`);
    expect(decodeDxp(wire)).toMatchObject({ ...request, payload: Buffer.from([2, 1]) });
  });

  it('002-2: on, off and reboot of one relay; the others stay', async () => {
    const device = await start();
    const power = drivers().open(`iboot://127.0.0.1:${device.local.port}/2`, credentials);
    expect(await power.status()).toBe('off');
    expect(await powerOn(power, cycle)).toMatchObject({ state: 'active' });
    expect(device.states).toEqual([false, true, false]);
    expect(await reboot(power, cycle)).toMatchObject({ state: 'active' });
    expect(await powerOff(power, cycle)).toMatchObject({ state: 'deleted' });
    device.stuck = true;
    expect(await powerOn(power, { ...cycle, ipmiPowerRetry: 2 })).toMatchObject({ state: 'error', retries: 3 });
    await device.close();
  });

  it('002-2: relays of one device take turns', async () => {
    const device = await start();
    const all = drivers();
    const powers = [1, 2, 3].map((relay) => all.open(`iboot://127.0.0.1:${device.local.port}/${relay}`, credentials));
    await Promise.all(powers.flatMap((power) => [power.on(), power.status()]));
    expect(device.states).toEqual([true, true, true]);
    expect(device.mostAtOnce).toBe(1);
    await device.close();
  });

  it('002-2: wrong password, unknown relay, silence, nobody there: each says so', async () => {
    const device = await start();
    const where = `iboot://127.0.0.1:${device.local.port}`;
    const wrong = drivers().open(where, { username: 'admin', password: new Secret('wrong') });
    await expect(wrong.status()).rejects.toMatchObject({
      code: 'IBOOT_NO_ANSWER',
      message: expect.stringContaining('wrong user or password'),
    });
    await expect(drivers().open(`${where}/9`, credentials).on()).rejects.toMatchObject({ code: 'IBOOT_REFUSED' });
    device.silent = true;
    await expect(drivers().open(where, credentials).status(AbortSignal.timeout(100))).rejects.toMatchObject({ name: 'TimeoutError' });
    await device.close();
    await expect(drivers().open(where, credentials).status()).rejects.toMatchObject({ code: 'IBOOT_NO_ANSWER' });
    expect(() => drivers().open(where, { username: 'u'.repeat(21), password: new Secret('p') })).toThrow(
      expect.objectContaining({ code: 'POWER_ACCESS_INVALID' }),
    );
  });

  it("002-2: as a record has it, in nova's form", async () => {
    const device = await start();
    const factory = drivers().factories().iboot;
    const power = factory?.({ address: `127.0.0.1:${device.local.port},3`, ...credentials });
    await power?.on();
    expect(device.states).toEqual([false, false, true]);
    await device.close();
  });
});

/** Answers for other programs. */
class ScriptedProcesses implements Processes {
  readonly lines: string[] = [];
  state = 'shut off';
  failure: string | undefined;

  async run({ program, args }: ProcessCommand) {
    this.lines.push([program, ...args].join(' '));
    const words = args.slice(-2);
    if (this.failure !== undefined) return { exitCode: 1, stdout: '', stderr: this.failure };
    const [verb] = words;
    if (verb === 'start' && this.state === 'running') return { exitCode: 1, stdout: '', stderr: 'error: Domain is already active' };
    if (verb === 'start') this.state = 'running';
    if (verb === 'destroy' || verb === 'shutdown') this.state = 'shut off';
    return { exitCode: 0, stdout: verb === 'domstate' ? `${this.state}\n\n` : '', stderr: '' };
  }
}

describe('VirtualPower', () => {
  it('002-2: virsh over ssh: the words, in order, no shell of ours between', async () => {
    const processes = new ScriptedProcesses();
    const power = drivers({ processes }).open('virtual+ssh://ops@hyper-1:2222/web-1?connect=qemu:///system&key=/etc/k', credentials);
    expect(await powerOn(power, cycle)).toMatchObject({ state: 'active', retries: 1 });
    const ssh = 'ssh -o BatchMode=yes -o ConnectTimeout=10 -p 2222 -l ops -i /etc/k -- hyper-1 env LC_ALL=C virsh --connect qemu:///system';
    expect(processes.lines).toEqual([`${ssh} domstate web-1`, `${ssh} start web-1`, `${ssh} domstate web-1`]);
    expect(processes.lines.join()).not.toContain('secret');
    await power.softOff();
    expect(await power.status()).toBe('off');
  });

  it('002-2: on when on is success; an unknown machine and a failing tool say so', async () => {
    const processes = new ScriptedProcesses();
    processes.state = 'running';
    const power = drivers({ processes }).open('virtual+exec:///web-1', credentials);
    await power.on();
    processes.state = 'no state';
    await expect(power.status()).rejects.toMatchObject({ code: 'VIRTUAL_FAILED' });
    processes.failure = "error: failed to get domain 'web-1'";
    await expect(power.status()).rejects.toMatchObject({ code: 'VIRTUAL_UNKNOWN' });
    processes.failure = 'ssh: connect to host hyper-1 port 22: Connection refused';
    await expect(power.off()).rejects.toMatchObject({ code: 'VIRTUAL_FAILED', message: expect.stringContaining('Connection refused') });
  });

  it.each([
    ['poweroff', 'off'],
    ['aborted-saved', 'off'],
    ['teleported', 'off'],
    ['running', 'on'],
  ])('002-2: a VirtualBox machine that is %s is %s', async (state, power) => {
    const stdout = `name="web-1"\nVMState="${state}"\nVMStateChangeTime="2026-01-01"\n`;
    const processes: Processes = { run: async () => ({ exitCode: 0, stdout, stderr: '' }) };
    expect(await drivers({ processes }).open('virtual+exec:///web-1?type=vbox', credentials).status()).toBe(power);
  });

  it('002-2: a program has to be allowed, and is really run', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'virtual-'));
    const program = join(directory, 'lab-power');
    await writeFile(
      program,
      `#!/bin/sh\ncase "$1" in status) cat ${directory}/state 2>/dev/null || echo off ;; on|off) echo "$1" > ${directory}/state ;; *) exit 3 ;; esac\necho "$*" >> ${directory}/calls\n`,
    );
    await chmod(program, 0o700);
    const url = `virtual+exec:///vm-1?type=program&program=${program}`;
    expect(() => drivers({ processes: nodeProcesses }).open(url, credentials)).toThrow(expect.objectContaining({ code: 'POWER_URL' }));
    const power = drivers({ processes: nodeProcesses, programs: [program] }).open(url, credentials);
    expect(await powerOn(power, cycle)).toMatchObject({ state: 'active' });
    expect(await powerOff(power, cycle)).toMatchObject({ state: 'deleted' });
    await expect(power.softOff()).rejects.toMatchObject({ code: 'VIRTUAL_FAILED' });
    expect((await readFile(join(directory, 'calls'), 'utf8')).split('\n')).toEqual(
      expect.arrayContaining(['on vm-1', 'off vm-1', 'status vm-1']),
    );
    await rm(directory, { recursive: true, force: true });
  });

  it('a program that hangs is killed', async () => {
    await expect(nodeProcesses.run({ program: 'sleep', args: ['60'], limitMs: 50 })).rejects.toThrow('did not end within');
    await expect(nodeProcesses.run({ program: '/nonexistent', args: [], limitMs: 50 })).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

it.each([
  { name: 'ends', last: 'echo on', limitMs: 20_000, ends: true },
  { name: 'hangs', last: 'sleep 60', limitMs: 500, ends: false },
])('a program that $name, and leaves one behind that holds its output: a machine, or a connection that ssh shares', async (program) => {
  const directory = await mkdtemp(join(tmpdir(), 'left-behind-'));
  const pid = join(directory, 'pid');
  const args = ['-c', `setsid sleep 60 & echo $! > ${pid}; ${program.last}`];
  const run = nodeProcesses.run({ program: 'sh', args, limitMs: program.limitMs });
  if (program.ends) expect(await run).toEqual({ exitCode: 0, stdout: 'on\n', stderr: '' });
  else await expect(run).rejects.toThrow('did not end within 0.5 s');
  process.kill(Number(await readFile(pid, 'utf8')), 'SIGKILL');
  await rm(directory, { recursive: true });
});

it('002-2: other programs see no passwords of the environment, and speak untranslated', async () => {
  process.env.BMS_TEST_PASSWORD = 'hunter2';
  const { stdout } = await nodeProcesses.run({ program: 'env', args: [], limitMs: 5_000 });
  delete process.env.BMS_TEST_PASSWORD;
  expect(stdout).not.toContain('hunter2');
  expect(stdout).toContain('PATH=');
  expect(stdout).toContain('LC_ALL=C');
});
