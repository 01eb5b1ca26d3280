/** bmctl power, boot, sensors, sel, console and bmc against the simulated BMC on loopback, without any server. */
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { type Clock, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { analogSensor, type SerialPort, SimulatedBmc } from 'cdk8s-baremetal-simulator/bmc/index';
import { SimulatedRedfish } from 'cdk8s-baremetal-simulator/redfish/index';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConsoleKeys } from '../../src/cli/console-keys.ts';
import type { Terminal } from '../../src/cli/surroundings.ts';
import { REDFISH_USERS, selfSigned } from '../runtime/power/redfish/support.ts';
import { TestChassis, USERS } from '../runtime/power/support.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { runBmctl } from './run-bmctl.ts';

const folder = temporaryFolder();
let bmc: SimulatedBmc;
let chassis: TestChassis;
let url: string;
let say: ((data: Uint8Array) => void) | undefined;

const serial: SerialPort = {
  input: (data) => say?.(Buffer.from(Buffer.from(data).toString('latin1').toUpperCase(), 'latin1')),
  break: () => say?.(Buffer.from('[break]')),
  output: (listener) => {
    say = listener;
    listener?.(Buffer.from('login: '));
  },
};

beforeEach(async () => {
  folder.create();
  chassis = new TestChassis();
  const deps = { clock: nodeClock, network: nodeNetwork, random: nodeRandom, logger: silentLogger };
  bmc = await SimulatedBmc.start({ ...deps, address: '127.0.0.1', port: 0, users: USERS, chassis, serial });
  url = `ipmi://127.0.0.1:${bmc.local.port}`;
});
afterEach(async () => {
  await bmc.close();
  folder.remove();
});

const ENV = { BMCTL_BMC_PASSWORD: 'correct-horse' };
const bmctl = (...args: string[]) => runBmctl(args, ENV);
const json = async (...args: string[]) => JSON.parse((await runBmctl(['--json', ...args], ENV)).out);

describe('bmctl power', () => {
  it('002-2: status, on, off, soft, cycle, reset, diag', async () => {
    expect(await bmctl('power', 'status', url)).toEqual({ code: 0, out: 'off', err: '' });
    expect((await bmctl('power', 'on', url)).out).toBe('on');
    expect(await json('power', 'status', url)).toEqual({ power: 'on' });
    expect((await bmctl('power', 'reset', url)).out).toBe('reset was sent.');
    expect((await bmctl('power', 'diag', url)).code).toBe(0);
    expect((await bmctl('power', 'cycle', url)).out).toBe('on');
    expect(await json('power', 'soft', url)).toMatchObject({ power: 'off', cut: false });
    expect(await json('power', 'on', url)).toEqual({ power: 'on', looks: 2 });
    expect((await bmctl('power', 'off', url)).out).toBe('off');
    expect(chassis.events).toEqual(['on none', 'reset none', 'off', 'on none', 'off', 'on none', 'off']);
    expect((await bmctl('power', 'chassis', url)).out).toContain('power off');
  });

  it('002-2: boot set and get, read back', async () => {
    expect((await bmctl('boot', 'set', url, 'pxe', '--persistent', '--efi')).out).toBe('pxe, from now on');
    expect((await bmctl('boot', 'get', url)).out).toBe('pxe, from now on, UEFI');
    expect(await json('boot', 'set', url, 'bios')).toEqual({ device: 'bios', persistent: false, efi: false, readBack: true });
    expect(bmc.bootFlags).toMatchObject({ valid: true, persistent: false, selector: 6 });
    expect(await bmctl('boot', 'set', url, 'tape')).toMatchObject({ code: 2 });
  });

  it('002-2: the password comes from the environment, a file, standard input or the keyboard; never from the command line', async () => {
    writeFileSync(folder.path('pw'), 'correct-horse\n', { mode: 0o600 });
    expect((await runBmctl(['power', 'status', url, '--password-file', folder.path('pw')])).out).toBe('off');
    expect((await runBmctl(['power', 'status', url, '--password-file', '-'], {}, 'correct-horse\n')).out).toBe('off');
    const terminal: Terminal = { raw: () => () => undefined, write: () => undefined, askHidden: async () => 'correct-horse' };
    expect((await runBmctl(['power', 'status', url], {}, '', { terminal })).out).toBe('off');
    expect(await runBmctl(['power', 'status', url])).toMatchObject({ code: 2, err: expect.stringContaining('BMCTL_SECRET') });
    const inUrl = await runBmctl(['power', 'status', url.replace('//', '//admin:correct-horse@')]);
    expect(inUrl.code).toBe(2);
    expect(inUrl.err).not.toContain('correct-horse');
    expect((await runBmctl(['power', 'status', url, '--password', 'x'], ENV)).code).toBe(2);
  });

  it.each([
    { name: 'wrong password', env: { BMCTL_BMC_PASSWORD: 'wrong' }, args: [], code: 4, says: 'IPMI_WRONG_PASSWORD' },
    { name: 'wrong user', env: ENV, args: ['--user', 'nobody'], code: 4, says: 'IPMI_WRONG_USER' },
    { name: 'a weak suite that the BMC does not have', env: ENV, args: ['--cipher', '0'], code: 1, says: 'IPMI_CIPHER_SUITE_UNSUPPORTED' },
    { name: 'no such suite', env: ENV, args: ['--cipher', '9'], code: 2, says: 'BMCTL_CIPHER' },
  ])('002-2: $name ends with $code', async ({ env, args, code, says }) => {
    const ran = await runBmctl(['power', 'status', url, ...args], env);
    expect(ran).toMatchObject({ code, err: expect.stringContaining(says) });
    expect(ran.err).not.toContain(env.BMCTL_BMC_PASSWORD);
  });

  it('002-2: a user who may look may not switch', async () => {
    const viewer = { BMCTL_BMC_PASSWORD: 'look', BMCTL_BMC_USER: 'viewer' };
    expect((await runBmctl(['power', 'status', url], viewer)).out).toBe('off');
    expect(await runBmctl(['power', 'on', url], viewer)).toMatchObject({ code: 4, err: expect.stringContaining('IPMI_PRIVILEGE_REFUSED') });
    expect(chassis.events).toEqual([]);
  });

  it('a virtual machine through a program of this machine', async () => {
    const lines: string[] = [];
    const processes = {
      run: async ({ program, args }: { program: string; args: readonly string[] }) => {
        lines.push([program, ...args].join(' '));
        return { exitCode: 0, stdout: 'running\n', stderr: '' };
      },
    };
    const ran = await runBmctl(['power', 'status', 'virtual+ssh://ops@hyper-1/vm-1'], {}, '', { processes });
    expect(ran).toEqual({ code: 0, out: 'on', err: '' });
    expect(lines[0]).toContain('-l ops -- hyper-1 env LC_ALL=C virsh domstate vm-1');
    expect(await runBmctl(['power', 'reset', 'virtual+exec:///vm-1'], {}, '', { processes })).toMatchObject({ code: 6 });
  });
});

const tls = selfSigned();

describe.skipIf(tls === undefined)('bmctl by Redfish', () => {
  it('002-2: power, boot and sensors; a certificate that nobody vouches for is named, then pinned or its authority given', async () => {
    if (!tls) throw new Error('skipped without it');
    const deps = { clock: nodeClock, random: nodeRandom, logger: silentLogger };
    const service = new SimulatedRedfish({ ...deps, users: REDFISH_USERS, chassis });
    const server = await service.serve(nodeNetwork, { address: '127.0.0.1', port: 0, tls });
    const plain = `redfish://127.0.0.1:${server.local.port}`;
    const pinned = `${plain}?sha256=${new X509Certificate(tls.cert).fingerprint256}`;
    writeFileSync(folder.path('ca.pem'), tls.cert);
    expect(await bmctl('power', 'status', plain)).toMatchObject({ code: 4, err: expect.stringContaining('REDFISH_CERTIFICATE') });
    expect(await bmctl('power', 'status', plain, '--bmc-ca', folder.path('ca.pem'))).toMatchObject({ code: 0, out: 'off', err: '' });
    expect((await bmctl('power', 'on', pinned)).out).toBe('on');
    expect((await bmctl('boot', 'set', pinned, 'pxe', '--efi')).out).toBe('pxe, once');
    expect((await bmctl('boot', 'get', pinned)).out).toBe('Pxe, once, UEFI');
    expect((await bmctl('power', 'reset', pinned)).out).toBe('reset was sent.');
    expect((await bmctl('sensors', pinned, '--type', 'temp')).out).toContain('21.5 Cel');
    expect(await bmctl('sel', 'list', pinned)).toMatchObject({ code: 6, err: expect.stringContaining('BMCTL_ONLY_IPMI') });
    expect((await runBmctl(['power', 'status', pinned], { BMCTL_BMC_PASSWORD: 'wrong' })).code).toBe(4);
    expect(chassis.events).toEqual(['on none', 'reset pxe']);
    expect(service.sessions).toBe(0);
    await server.close(10);
  });
});

describe('bmctl sensors and sel', () => {
  it('002-2: a name that a BMC gives a sensor does not drive the terminal', async () => {
    const deps = { clock: nodeClock, network: nodeNetwork, random: nodeRandom, logger: silentLogger };
    const fan = analogSensor({ number: 1, analog: {}, name: 'Fan\x1b[2J\x9b1m\nok', sensorType: 4 }, () => 40);
    const strange = await SimulatedBmc.start({ ...deps, address: '127.0.0.1', port: 0, users: USERS, chassis, sensors: [fan] });
    const { out } = await bmctl('sensors', `ipmi://127.0.0.1:${strange.local.port}`);
    await strange.close();
    expect(out.split('\n')).toHaveLength(2);
    expect(out).toContain('Fan [2J 1m ok  fan');
  });

  it('002-2: readings for people and as JSON; only problems', async () => {
    const { out } = await bmctl('sensors', url);
    expect(out).toMatch(/^Inlet Temp\s+temperature\s+23 °C\s+ok\s+≤!-5, ≥38, ≥!42$/m);
    expect(out).toMatch(/^CPU Temp\s+temperature\s+-\s+unknown\s+the BMC has no reading now$/m);
    const { sensors } = await json('sensors', url, '--type', 'temperature');
    expect(sensors).toHaveLength(2);
    expect(sensors[0]).toMatchObject({ name: 'Inlet Temp', value: 23, unit: '°C', health: 'ok' });
    expect((await bmctl('sensors', url, '--problems')).out).toBe('No sensor is like that.');
  });

  it('002-2: list with names of sensors, info, clear after a confirmation', async () => {
    bmc.log.add({ sensorType: 1, sensor: 1, eventType: 1, offset: 9 });
    bmc.log.add({ sensorType: 1, sensor: 1, eventType: 1, offset: 9, asserted: false });
    expect((await bmctl('sel', 'list', url)).out).toMatch(/Inlet Temp\s+temperature: upper critical going high\s+over$/m);
    expect((await json('sel', 'list', url, '--last', '1')).entries).toMatchObject([{ id: 2, sensorName: 'Inlet Temp' }]);
    bmc.log.add({ sensorType: 15, sensor: 1, eventType: 0x6f, offset: 0, generator: 0x31 }); // of the firmware, whose numbers are its own
    expect((await bmctl('sel', 'list', url, '--last', '1')).out).toMatch(/sensor 1\s+system firmware progress/);
    expect((await json('sel', 'list', url, '--last', '1')).entries).toMatchObject([{ id: 3, sensorName: null }]);
    for (const count of ['0', 'two', '-1']) expect(await bmctl('sel', 'list', url, '--last', count)).toMatchObject({ code: 2, out: '' });
    expect((await bmctl('sel', 'clear', url)).code).toBe(6);
    expect(await json('sel', 'info', url)).toMatchObject({ entries: 3 });
    expect((await bmctl('sel', 'clear', url, '--yes')).out).toBe('The log is empty.');
    expect((await bmctl('sel', 'list', url)).out).toBe('The log is empty.');
  });
});

describe('bmctl bmc', () => {
  it('002-2: info, lan, users, and a password set and tested', async () => {
    expect(await json('bmc', 'info', url)).toMatchObject({ manufacturer: 48879, ipmiVersion: '2.0', restartCause: 'unknown' });
    expect((await bmctl('bmc', 'lan', url)).out).toContain('address: 127.0.0.1');
    expect((await bmctl('bmc', 'users', url)).out).toMatch(/^3\s+op\s+yes\s+yes\s+operator$/m);
    const next = { ...ENV, BMCTL_NEW_PASSWORD: 'a-password-of-twenty' };
    expect(await runBmctl(['bmc', 'password', 'test', url, '3'], next)).toMatchObject({ code: 4 });
    const entered: Terminal = { raw: () => () => undefined, write: () => undefined, askHidden: async () => '' };
    for (const nothing of [{ ...ENV, BMCTL_NEW_PASSWORD: '' }, ENV])
      expect(await runBmctl(['bmc', 'password', 'set', url, '3'], nothing, '', { terminal: entered })).toMatchObject({ code: 2 });
    expect(await runBmctl(['bmc', 'password', 'test', url, '3'], { ...ENV, BMCTL_NEW_PASSWORD: 'operate' })).toMatchObject({ code: 0 });
    expect((await runBmctl(['bmc', 'password', 'set', url, '3'], next)).out).toBe('User 3 has it now, kept in 20 bytes.');
    expect((await runBmctl(['power', 'status', url, '--user', 'op'], { BMCTL_BMC_PASSWORD: 'a-password-of-twenty' })).out).toBe('off');
    expect((await bmctl('bmc', 'reset', url)).code).toBe(6);
    expect((await bmctl('bmc', 'reset', url, '--yes')).out).toBe('The BMC restarts.');
  });

  it('a BMC that restarts before it answers has restarted; one that is silent to the log-in has not', async () => {
    const quick: Clock = {
      now: () => nodeClock.now(),
      monotonic: () => nodeClock.monotonic() * 100,
      after: (delayMs, callback) => nodeClock.after(delayMs / 100, callback),
    };
    const reset = () => runBmctl(['bmc', 'reset', url, '--yes'], ENV, '', { clock: quick });
    bmc.faults.restartsUnanswered = true;
    expect(await reset()).toEqual({ code: 0, out: 'The BMC restarts.', err: '' });
    expect(bmc.count(6, 2)).toBe(1);
    bmc.faults.dead = true;
    expect(await reset()).toMatchObject({ code: 3, err: expect.stringContaining('IPMI_NO_ANSWER') });
  });
});

describe('bmctl console', () => {
  it('002-2: a terminal in raw mode, a break, help, and Ctrl-] . to leave', async () => {
    let shown = '';
    let raw = false;
    const dialogue: [RegExp, string][] = [
      [/login: /, 'root'],
      [/ROOT/, '\x1db'],
      [/\[break\]/, '\x1d?\x1d\x1d'],
      [/\[break\][^ -~]/, '\x1d.'],
    ];
    let keys: (data: Uint8Array) => void = () => undefined;
    const terminal: Terminal = {
      raw(onKeys) {
        raw = true;
        keys = onKeys;
        return () => {
          raw = false;
        };
      },
      write(data) {
        shown += Buffer.from(data).toString('latin1');
        const [next] = dialogue;
        if (!next?.[0].test(shown)) return;
        dialogue.shift();
        expect(raw).toBe(true);
        keys(Buffer.from(next[1], 'latin1'));
      },
      askHidden: async () => '',
    };
    const ran = await runBmctl(['console', url], ENV, '', { terminal });
    expect(ran).toMatchObject({ code: 0, out: '' });
    expect(ran.err).toContain('Ctrl-] then: . ends the console');
    expect(shown).toBe('login: ROOT[break]\x1d');
    expect(raw).toBe(false);
    expect(bmc.sol.session).toBeUndefined();
  });

  it('002-2: a console that somebody else takes over ends with a reason, and the terminal is given back', async () => {
    let raw = 0;
    let shown = '';
    const terminal = (onOutput: (keys: (data: Uint8Array) => void) => void): Terminal => {
      let keys: (data: Uint8Array) => void = () => undefined;
      return {
        raw(onKeys) {
          keys = onKeys;
          raw += 1;
          let given = false;
          return () => {
            if (!given) raw -= 1;
            given = true;
          };
        },
        write(data) {
          shown += Buffer.from(data).toString('latin1');
          onOutput(keys);
        },
        askHidden: async () => '',
      };
    };
    const leave = (keys: (data: Uint8Array) => void): void => keys(Buffer.from('\x1d.'));
    let second: ReturnType<typeof runBmctl> | undefined;
    const takeOver = (): void => {
      second ??= runBmctl(['console', url, '--force'], ENV, '', { terminal: terminal(leave) });
    };
    const first = await runBmctl(['console', url], ENV, '', { terminal: terminal(takeOver) });
    expect(first).toMatchObject({ code: 3, err: expect.stringContaining('IPMI_CONSOLE_LOST') });
    expect(await second).toMatchObject({ code: 0 });
    expect(raw).toBe(0);
    expect(shown).toContain('login: ');
    const refused = await runBmctl(['console', url, '--user', 'viewer'], { BMCTL_BMC_PASSWORD: 'look' }, '', { terminal: terminal(leave) });
    expect(refused.err).toContain('IPMI_');
    expect(raw).toBe(0);
  });

  it('wants a terminal', async () => {
    expect(await bmctl('console', url)).toMatchObject({ code: 2, err: expect.stringContaining('BMCTL_NO_TERMINAL') });
  });

  it('keys in any pieces', () => {
    const keys = new ConsoleKeys();
    const kinds = (text: string) =>
      keys
        .feed(Buffer.from(text, 'latin1'))
        .map((input) => (input.kind === 'send' ? Buffer.from(input.data).toString('latin1') : input.kind));
    expect(kinds('ab\x1d')).toEqual(['ab']);
    expect(kinds('b')).toEqual(['break']);
    expect(kinds('x\x1dzy')).toEqual(['x', 'y']);
    expect(kinds('\x1d\x1d\x1d?\x1d.')).toEqual(['\x1d', 'help', 'quit']);
  });
});
