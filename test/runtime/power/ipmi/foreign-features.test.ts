/** Our client and bmctl against BMCs that we did not write: OpenIPMI's ipmi_sim with sensors, a log and a serial port, and pyghmi's fake BMC. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { silentLogger, type TcpListener } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { IpmiGateway, IpmiPower, Secret } from 'cdk8s-baremetal-runtime/power/index';
import {
  eraseSel,
  type RunCommand,
  readLanParameters,
  readSel,
  readSensors,
  readUsers,
  SolConsole,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runBmctl } from '../../../cli/run-bmctl.ts';
import { freePort } from '../../../support/free-port.ts';
import { available } from '../support.ts';

const deps = { clock: nodeClock, network: nodeNetwork, random: nodeRandom, logger: silentLogger };
const PASSWORD = 'correct-horse';

async function answering(
  access: { address: string; port: number; username: string; password: Secret },
  process_: ChildProcess,
): Promise<void> {
  const ready = new IpmiGateway({ ...deps, schedule: () => [200] });
  for (let tries = 0; tries < 60; tries++) {
    await ready.retry(`${access.address}:${access.port}`);
    const there = await new IpmiPower(ready, access).status().then(
      () => true,
      () => false,
    );
    if (there || process_.exitCode !== null) break;
    await pause(100);
  }
  await ready.close();
  if (process_.exitCode !== null) throw new Error(`the peer ended with ${process_.exitCode}`);
}

async function ended(child: ChildProcess | undefined): Promise<void> {
  if (child?.exitCode !== null || child.killed) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill();
  await gone;
}

const sensor = (number: number, name: string, type: number, unit: string, m: number): string =>
  [
    'sdr type 1',
    'sensor_owner_id 0x20',
    'sensor_owner_lun 0',
    'channel_number 0',
    `sensor_number ${number}`,
    'entity_id 7',
    'entity_instance 1',
    'init_scanning true',
    'init_events true',
    'init_thresholds true',
    'default_sensor_scan_on true',
    `sensor_type ${type}`,
    'event_reading_type_code 1',
    'uc_thrsh_readable true',
    'return_uc true',
    'analog_data_format unsigned',
    `base_unit ${unit}`,
    `m ${m}`,
    'b 0',
    'uc_thresh 90',
    `id_string "${name}"`,
    'endsdr',
  ].join('\n');

describe.skipIf(!available('ipmi_sim', 'openipmi') || !available('sdrcomp', 'openipmi'))(
  "OpenIPMI's ipmi_sim with sensors, a log and a serial port",
  () => {
    let directory: string;
    let simulator: ChildProcess;
    let gateway: IpmiGateway;
    let serial: TcpListener;
    let access: { address: string; port: number; username: string; password: Secret };
    let run: RunCommand;

    beforeAll(async () => {
      directory = await mkdtemp(join(tmpdir(), 'ipmi-sim-'));
      const port = await freePort();
      // the machine behind the serial port repeats in capitals
      serial = await nodeNetwork.listen({ address: '127.0.0.1', port: 0 }, async (connection) => {
        try {
          for await (const data of connection)
            await connection.write(Buffer.from(Buffer.from(data).toString('latin1').toUpperCase(), 'latin1'));
        } catch {
          // the simulator was stopped
        }
      });
      await writeFile(join(directory, 'sensors'), `${sensor(1, 'Board Temp', 1, 'degrees_C', 1)}\n${sensor(2, 'Fan 1', 4, 'RPM', 70)}\n`);
      execFileSync('sdrcomp', ['-o', join(directory, 'sdr'), join(directory, 'sensors')]);
      await mkdir(join(directory, 'state/ipmi_sim/peer'), { recursive: true });
      await copyFile(join(directory, 'sdr'), join(directory, 'state/ipmi_sim/peer/sdr.20.main'));
      const levels = ['callback', 'user', 'operator', 'admin'].map((level) => `  allowed_auths_${level} none md2 md5 straight`);
      const lan = ['name "peer"', 'set_working_mc 0x20', 'startlan 1', `  addr 127.0.0.1 ${port}`, '  priv_limit admin', ...levels];
      lan.push('  guid a123456789abcdefa123456789abcdef', 'endlan', `sol "tcp:127.0.0.1:${serial.local.port}" 115200`);
      lan.push(`user 2 true "admin" "${PASSWORD}" admin 10 none md2 md5 straight`);
      await writeFile(join(directory, 'lan.conf'), `${lan.join('\n')}\n`, { mode: 0o600 });
      const emulation = [
        'mc_setbmc 0x20',
        'mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr',
        'sel_enable 0x20 100 0x0a',
        'sensor_add 0x20 0 1 1 1',
        'sensor_set_threshold 0x20 0 1 settable 010000 0 90 0 0 0 0',
        'sensor_set_value 0x20 0 1 42 0',
        'sensor_add 0x20 0 2 4 1',
        'sensor_set_value 0x20 0 2 60 0',
        'mc_enable 0x20',
        'sel_add 0x20 2 0 0 0 0 0x20 0 4 1 1 1 0x59 0x5f 0x5f',
      ];
      await writeFile(join(directory, 'bmc.emu'), `${emulation.join('\n')}\n`);
      const args = ['-n', '-c', join(directory, 'lan.conf'), '-f', join(directory, 'bmc.emu'), '-s', join(directory, 'state')];
      simulator = spawn('ipmi_sim', args, { cwd: directory, stdio: 'ignore' });
      gateway = new IpmiGateway({ ...deps, schedule: () => [300, 600, 1000, 2000, 4000] });
      access = { address: '127.0.0.1', port, username: 'admin', password: new Secret(PASSWORD) };
      await answering(access, simulator);
      run = (command, signal) => gateway.run({ ...access, privilege: 'administrator' }, command, signal);
    });

    afterAll(async () => {
      await gateway?.close();
      await ended(simulator);
      await serial?.close();
      await rm(directory, { recursive: true, force: true });
    });

    it('002-2: walks the records that sdrcomp made, and reads the sensors', async () => {
      const sensors = await readSensors(run);
      expect(sensors).toMatchObject([
        { name: 'Board Temp', type: 'temperature', value: 42, unit: '°C' },
        { name: 'Fan 1', type: 'fan', value: 4200, unit: 'rpm' },
      ]);
      expect(sensors[0]?.thresholds).toHaveProperty('upperCritical');
    });

    it('002-2: reads the log and erases it', async () => {
      const entries = [];
      for await (const entry of readSel(run)) entries.push(entry);
      expect(entries.at(-1)?.event).toMatchObject({ sensor: 1, text: 'temperature: upper critical going high', asserted: true });
      await eraseSel(run, nodeClock);
      for await (const entry of readSel(run)) expect(entry).toBeUndefined();
    });

    it('002-2: users, and suites of the LAN channel', async () => {
      expect(await readUsers(run)).toMatchObject([{ id: 2, name: 'admin', enabled: true, privilege: 4 }]);
      expect((await readLanParameters(run)).cipherSuites).toContain(3);
    });

    it('002-2: a serial console through it', async () => {
      const session = await gateway.session({ ...access, privilege: 'operator' });
      let shown = '';
      let heard: () => void = () => undefined;
      const all = new Promise<void>((resolve) => {
        heard = () => shown.includes('HELLO, MACHINE') && resolve();
      });
      const serial_ = await SolConsole.open({
        session,
        clock: nodeClock,
        onData: (data) => {
          shown += Buffer.from(data).toString('latin1');
          heard();
        },
      });
      serial_.write(Buffer.from('hello, machine'));
      await all;
      await serial_.close();
      expect(await serial_.ended).toBeUndefined();
    });

    it.each([3, 2, 1, 0] as const)('002-2: cipher suite %i by name', async (cipherSuite) => {
      const own = new IpmiGateway({ ...deps, schedule: () => [300, 600, 1000, 2000] });
      expect(await new IpmiPower(own, { ...access, cipherSuite }).status()).toBe('off');
      await own.close();
    });

    it('002-2: bmctl power status ipmi://…, sensors and sel, without any server', async () => {
      const url = `ipmi://127.0.0.1:${access.port}`;
      const env = { BMCTL_BMC_PASSWORD: PASSWORD };
      expect(await runBmctl(['power', 'status', url], env)).toEqual({ code: 0, out: 'off', err: '' });
      expect(JSON.parse((await runBmctl(['--json', 'power', 'status', url], env)).out)).toEqual({ power: 'off' });
      expect((await runBmctl(['sensors', url], env)).out).toContain('Fan 1       fan          4200 rpm');
      expect((await runBmctl(['sel', 'info', url], env)).out).toContain('entries: 0');
      expect(await runBmctl(['power', 'status', url], { BMCTL_BMC_PASSWORD: 'wrong' })).toMatchObject({ code: 4 });
    });
  },
);

const PYTHON = '/usr/bin/python3';
const hasPyghmi = spawnSync(PYTHON, ['-c', 'import pyghmi.cmd.fakebmc']).status === 0;
if (!hasPyghmi) console.warn('SKIPPED: pyghmi is missing (Debian package python3-pyghmi); our client is not tried on its fake BMC');

describe.skipIf(!hasPyghmi)("pyghmi's fake BMC", () => {
  let fake: ChildProcess;
  let gateway: IpmiGateway;
  let access: { address: string; port: number; username: string; password: Secret };

  beforeAll(async () => {
    const port = await freePort();
    const program = `from pyghmi.cmd.fakebmc import FakeBmc\nFakeBmc({'admin': 'password'}, port=${port}).listen()`;
    fake = spawn(PYTHON, ['-c', program], { stdio: 'ignore' });
    access = { address: '127.0.0.1', port, username: 'admin', password: new Secret('password') };
    gateway = new IpmiGateway({ ...deps, schedule: () => [300, 600, 1000, 2000, 4000] });
    await answering(access, fake);
  });

  afterAll(async () => {
    await gateway?.close();
    await ended(fake);
  });

  it('002-2: status, on, off, boot device', async () => {
    const power = new IpmiPower(gateway, access);
    expect(await power.status()).toBe('off');
    await power.on();
    expect(await power.status()).toBe('on');
    await power.setBootDevice('pxe', { persistent: false });
    expect(await power.bootFlags()).toMatchObject({ selector: 1 });
    await power.off();
    expect(await power.status()).toBe('off');
  });

  it('002-2: a wrong password is a wrong password', async () => {
    const own = new IpmiGateway({ ...deps, schedule: () => [300, 600, 1000] });
    await expect(new IpmiPower(own, { ...access, password: new Secret('wrong') }).status()).rejects.toMatchObject({
      code: 'IPMI_WRONG_PASSWORD',
    });
    await own.close();
  });
});
