/** ipmitool and FreeIPMI's ipmipower, as Debian ships them, against the simulated BMC on loopback. Passwords go through files, never argv. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { SimulatedBmc } from 'cdk8s-baremetal-simulator/bmc/index';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { available, TestChassis, USERS } from '../../runtime/power/support.ts';

const hasIpmitool = available('ipmitool', 'ipmitool');
const hasIpmipower = available('ipmipower', 'freeipmi-tools');

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
  const deps = { clock: nodeClock, network: nodeNetwork, random: nodeRandom, logger: silentLogger };
  bmc = await SimulatedBmc.start({ ...deps, address: '127.0.0.1', port: 0, users: USERS, chassis });
  return () => bmc.close();
});

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
