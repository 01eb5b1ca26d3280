/** Our client against OpenIPMI's ipmi_sim (Debian package openipmi) on loopback. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Endpoint, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { IpmiGateway, IpmiPower, powerOff, powerOn, Secret } from 'cdk8s-baremetal-runtime/power/index';
import { decodePacket, MemoryStopKeeper, PayloadType } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { available } from '../support.ts';

const deps = { clock: nodeClock, network: nodeNetwork, random: nodeRandom, logger: silentLogger };

/** `get`, `set` and `shutdown` as ipmi_sim calls them; its descriptors must be closed, since it waits for all holders. */
const CHASSIS_SCRIPT = `#!/bin/sh
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
echo "$@" >> DIR/calls
shift
op=$1; shift
while [ $# -gt 0 ]; do
  case "$op $1" in
    "get power") echo "power:$(cat DIR/power 2>/dev/null || echo 0)" ;;
    "get boot") echo "boot:none" ;;
    "set power") echo "$2" > DIR/power; shift ;;
    "set boot") shift ;;
  esac
  shift
done
`;

/** Stands on the wire before a BMC and counts what passes it: our own word for what we sent would prove little. */
async function countingWire(bmc: Endpoint) {
  const logIns = new Set<string>();
  let datagrams = 0;
  let client: Endpoint | undefined;
  const behind = await nodeNetwork.udp({ address: '127.0.0.1' }, { onMessage: (data) => client && front.send(data, client) });
  const front = await nodeNetwork.udp(
    { address: '127.0.0.1' },
    {
      onMessage(data, from) {
        client = from;
        datagrams += 1;
        const packet = decodePacket(data);
        // a BMC looks a user up, and locks it, from RAKP 1 on; one sent again is the same bytes
        if (packet.kind === 'plus' && packet.payloadType === PayloadType.rakp1) logIns.add(Buffer.from(data).toString('hex'));
        behind.send(data, bmc);
      },
    },
  );
  return {
    port: front.local.port,
    passed: () => ({ logIns: logIns.size, datagrams }),
    close: async () => {
      await front.close();
      await behind.close();
    },
  };
}

describe.skipIf(!available('ipmi_sim', 'openipmi'))("OpenIPMI's ipmi_sim", () => {
  let directory: string;
  let simulator: ChildProcess;
  let gateway: IpmiGateway;
  let port: number;

  const access = (password = 'correct-horse', username = 'admin') => ({
    address: '127.0.0.1',
    port,
    username,
    password: new Secret(password),
  });

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ipmi-sim-'));
    // ipmi_sim cannot listen on port 0: take a port that was free a moment ago
    const probe = await nodeNetwork.udp({ address: '127.0.0.1' }, { onMessage: () => undefined });
    port = probe.local.port;
    await probe.close();
    const levels = ['callback', 'user', 'operator', 'admin'].map((level) => `  allowed_auths_${level} none md2 md5 straight`);
    const lan = [
      'name "peer"',
      'set_working_mc 0x20',
      'startlan 1',
      `  addr 127.0.0.1 ${port}`,
      '  priv_limit admin',
      ...levels,
      '  guid a123456789abcdefa123456789abcdef',
      'endlan',
      `chassis_control "${directory}/chassis 0x20"`,
      'user 1 true "" "test" user 10 none md2 md5 straight',
      'user 2 true "admin" "correct-horse" admin 10 none md2 md5 straight',
    ];
    await writeFile(join(directory, 'lan.conf'), `${lan.join('\n')}\n`, { mode: 0o600 });
    await writeFile(
      join(directory, 'bmc.emu'),
      'mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n',
    );
    await writeFile(join(directory, 'chassis'), CHASSIS_SCRIPT.replaceAll('DIR', directory));
    await chmod(join(directory, 'chassis'), 0o700);
    const args = ['-n', '-c', join(directory, 'lan.conf'), '-f', join(directory, 'bmc.emu'), '-s', join(directory, 'state')];
    simulator = spawn('ipmi_sim', args, { cwd: directory, stdio: 'ignore' });
    gateway = new IpmiGateway({ ...deps, schedule: () => [300, 600, 1000, 2000, 4000] });
    const ready = new IpmiGateway({ ...deps, schedule: () => [200] });
    for (let tries = 0; tries < 50; tries++) {
      const answered = await new IpmiPower(ready, access()).status().then(
        () => true,
        () => false,
      );
      if (answered || simulator.exitCode !== null) break;
      await pause(100);
    }
    await ready.close();
    if (simulator.exitCode !== null) throw new Error(`ipmi_sim ended with ${simulator.exitCode}`);
  });

  afterAll(async () => {
    await gateway?.close();
    if (simulator?.exitCode === null) {
      const gone = new Promise((resolve) => simulator.once('exit', resolve));
      simulator.kill();
      await gone;
    }
    await rm(directory, { recursive: true, force: true });
  });

  it('002-2: falls back to suite 3, then status, on, off through nova’s waiting', async () => {
    const power = new IpmiPower(gateway, access());
    const options = { clock: nodeClock, logger: silentLogger, intervalMs: 50 };
    expect(await power.status()).toBe('off');
    expect(await powerOn(power, options)).toMatchObject({ state: 'active' });
    expect(await power.status()).toBe('on');
    expect(await powerOff(power, options)).toMatchObject({ state: 'deleted' });
    expect(await readFile(join(directory, 'calls'), 'utf8')).toMatch(/set power 1[\s\S]*set power 0/);
  });

  it('002-2: sets the boot device', async () => {
    await new IpmiPower(gateway, access()).setBootDevice('pxe', { persistent: true });
    expect(await readFile(join(directory, 'calls'), 'utf8')).toContain('set boot pxe');
  });

  it('002-2: device id', async () => {
    expect(await new IpmiPower(gateway, access()).deviceId()).toMatchObject({ ipmiVersion: '2.0', manufacturer: 0x1291, product: 0xf02 });
  });

  it.each([
    { name: 'wrong password', user: 'admin', password: 'wrong', code: 'IPMI_WRONG_PASSWORD' },
    { name: 'wrong user', user: 'nobody', password: 'x', code: 'IPMI_WRONG_USER' },
  ])('002-2: $name', async ({ user, password, code }) => {
    const own = new IpmiGateway({ ...deps, schedule: () => [300, 600, 1000, 2000] });
    await expect(new IpmiPower(own, access(password, user)).status()).rejects.toMatchObject({ code });
    await own.close();
  });

  it.skipIf(!available('ipmitool', 'ipmitool'))(
    '002-2: refused passwords are sent once each and three at most; what comes then is held, until a person lifts the stop',
    async () => {
      const ipmitool = async (): Promise<string> => {
        const args = ['-I', 'lanplus', '-C', '3', '-H', '127.0.0.1', '-p', `${port}`, '-U', 'admin', '-E', 'chassis', 'power', 'status'];
        return (await promisify(execFile)('ipmitool', args, { env: { ...process.env, IPMI_PASSWORD: 'correct-horse' } })).stdout.trim();
      };
      const wire = await countingWire({ address: '127.0.0.1', port });
      const stops = new MemoryStopKeeper();
      const start = () => new IpmiGateway({ ...deps, stops, schedule: () => [300, 600, 1000, 2000, 4000] });
      let own = start();
      const power = (password: string) => new IpmiPower(own, { ...access(password), port: wire.port });
      const options = { clock: nodeClock, logger: silentLogger, intervalMs: 1 };
      try {
        for (const [before, stale] of ['stale-1', 'stale-2', 'stale-3'].entries()) {
          expect(wire.passed().logIns).toBe(before);
          await expect(powerOn(power(stale), options)).rejects.toMatchObject({ code: 'IPMI_WRONG_PASSWORD' });
          const { datagrams } = wire.passed();
          for (let polls = 0; polls < 20; polls++) await expect(power(stale).status()).rejects.toMatchObject({ code: 'IPMI_AUTH_HELD' });
          expect(wire.passed()).toEqual({ logIns: before + 1, datagrams });
        }
        expect(await ipmitool()).toBe('Chassis Power is off');

        // a daemon that starts again, and even the right password: after three guesses nobody gets another
        const sent = wire.passed();
        await own.close();
        own = start();
        for (const any of ['stale-1', 'stale-4', 'correct-horse'])
          await expect(power(any).status()).rejects.toMatchObject({ code: 'IPMI_AUTH_HELD' });
        expect(wire.passed()).toEqual(sent);

        await own.retry(`127.0.0.1:${wire.port}`);
        expect(await power('correct-horse').status()).toBe('off');
        expect(wire.passed().logIns).toBe(sent.logIns + 1);
        expect(await ipmitool()).toBe('Chassis Power is off');
      } finally {
        await own.close();
        await wire.close();
      }
    },
  );

  it('002-2: 200 polls over one session', async () => {
    const power = new IpmiPower(gateway, access());
    for (let i = 0; i < 200; i++) expect(await power.status()).toBe('off');
    expect(gateway.stats().sessions).toBe(1);
  });
});
