/**
 * Power-status polls a second against OpenIPMI's ipmi_sim on loopback: the gateway's kept sessions against a process per poll (ipmitool)
 * and one FreeIPMI ipmipower that asks them all. Prints a Markdown table. About a minute.
 *
 *   node --import tsx bench/power.ts            needs the Debian packages openipmi, ipmitool, freeipmi-tools
 *
 * 64 BMCs are 64 ipmi_sim processes on 127.0.1.1 to 127.0.1.64. They have no chassis script, which would cost a fork per poll: the protocol is
 * what is measured. They share the cores with the client.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Endpoint, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { IpmiGateway, IpmiPower, Secret } from 'cdk8s-baremetal-runtime/power/index';

const deps = { clock: nodeClock, network: nodeNetwork, random: nodeRandom, logger: silentLogger };
const SECONDS = Number(process.env.BENCH_SECONDS ?? 5);
const PASSWORD = 'correct-horse';
const BMCS = 64;

interface Rates {
  readonly serial?: number;
  readonly parallel?: number;
}

interface Row extends Rates {
  readonly what: string;
}

const directory = await mkdtemp(join(tmpdir(), 'bench-ipmi-'));
const simulators: ChildProcess[] = [];
try {
  const bmcs = await startSimulators();
  const rows: Row[] = [
    { what: 'ipmitool, a process each (-C 3)', ...(await ipmitool(bmcs)) },
    { what: 'ipmipower, one process (-I 3)', ...(await ipmipower(bmcs)) },
    { what: 'our client, a session each poll', ...(await ours(bmcs, true)) },
    { what: 'our client, sessions kept', ...(await ours(bmcs, false)) },
  ];
  print(rows);
} finally {
  for (const simulator of simulators) simulator.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
}

async function startSimulators(): Promise<Endpoint[]> {
  const probe = await nodeNetwork.udp({ address: '127.0.0.1' }, { onMessage: () => undefined });
  const { port } = probe.local;
  await probe.close();
  const bmcs = Array.from({ length: BMCS }, (_, i) => ({ address: `127.0.1.${i + 1}`, port }));
  const emulation = ['mc_setbmc 0x20', 'mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr', 'mc_enable 0x20', ''];
  await writeFile(join(directory, 'bmc.emu'), emulation.join('\n'));
  await writeFile(join(directory, 'password'), PASSWORD, { mode: 0o600 });
  await writeFile(join(directory, 'freeipmi.conf'), `username admin\npassword ${PASSWORD}\n`, { mode: 0o600 });
  const levels = ['callback', 'user', 'operator', 'admin'].map((level) => `allowed_auths_${level} none md2 md5 straight`);
  for (const { address } of bmcs) {
    const lan = ['name "bench"', 'set_working_mc 0x20', 'startlan 1', `addr ${address} ${port}`, 'priv_limit admin', ...levels];
    lan.push('guid a123456789abcdefa123456789abcdef', 'endlan', `user 2 true "admin" "${PASSWORD}" admin 60 none md2 md5 straight`);
    await writeFile(join(directory, `lan-${address}`), `${lan.join('\n')}\n`, { mode: 0o600 });
    const args = [
      '-n',
      '-c',
      join(directory, `lan-${address}`),
      '-f',
      join(directory, 'bmc.emu'),
      '-s',
      join(directory, `state-${address}`),
    ];
    simulators.push(spawn('ipmi_sim', args, { cwd: directory, stdio: 'ignore' }));
  }
  const gateway = new IpmiGateway({ ...deps, schedule: () => Array(40).fill(250) });
  await Promise.all(bmcs.map((bmc) => power(gateway, bmc).status()));
  await gateway.close();
  return bmcs;
}

function power(gateway: IpmiGateway, bmc: Endpoint): IpmiPower {
  return new IpmiPower(gateway, { ...bmc, username: 'admin', password: new Secret(PASSWORD) });
}

/** `workers` loops over `poll` until the time is up; polls a second. */
async function rate(workers: number, poll: (worker: number) => Promise<void>): Promise<number> {
  const start = performance.now();
  const end = start + SECONDS * 1000;
  let polls = 0;
  const loop = async (worker: number): Promise<void> => {
    while (performance.now() < end) {
      await poll(worker);
      polls += 1;
    }
  };
  await Promise.all(Array.from({ length: workers }, (_, worker) => loop(worker)));
  return (polls * 1000) / (performance.now() - start);
}

async function ours(bmcs: readonly Endpoint[], sessionEach: boolean): Promise<Rates> {
  const gateway = new IpmiGateway(deps);
  const powers = bmcs.map((bmc) => power(gateway, bmc));
  await Promise.all(powers.map((one) => one.status()));
  const poll = async (worker: number): Promise<void> => {
    const one = powers[worker];
    await one?.status();
    if (sessionEach) await one?.close();
  };
  const rates = { serial: await rate(1, poll), parallel: await rate(BMCS, poll) };
  await gateway.close();
  return rates;
}

async function ipmitool(bmcs: readonly Endpoint[]): Promise<Rates> {
  if (!installed('ipmitool')) return {};
  const poll = (worker: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const { address = '', port = 0 } = bmcs[worker] ?? {};
      const where = ['-I', 'lanplus', '-H', address, '-p', String(port), '-C', '3'];
      const args = [...where, '-U', 'admin', '-f', join(directory, 'password'), 'power', 'status'];
      const child = spawn('ipmitool', args, { stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      child.stdout.on('data', (chunk) => {
        output += chunk;
      });
      child.once('error', reject);
      child.once('close', () => (output.startsWith('Chassis Power is ') ? resolve() : reject(new Error(`ipmitool: ${output}`))));
    });
  return { serial: await rate(1, poll), parallel: await rate(BMCS, poll) };
}

/** ipmipower on its own prompt: `stat` asks all hosts, and the next `stat` follows when all have answered. */
async function ipmipower(bmcs: readonly Endpoint[]): Promise<Rates> {
  if (!installed('ipmipower')) return {};
  const measure = async (hosts: readonly Endpoint[]): Promise<number> => {
    const list = hosts.map(({ address, port }) => `${address}:${port}`).join(',');
    const config = ['--config-file', join(directory, 'freeipmi.conf'), '-W', 'opensesspriv', '-F', String(BMCS)];
    const child = spawn('ipmipower', ['-D', 'LAN_2_0', '-I', '3', '-h', list, ...config], { stdio: ['pipe', 'pipe', 'inherit'] });
    let missing = 0;
    let bad = 0;
    let answered: () => void = () => undefined;
    let rest = '';
    child.stdout.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (!/: (on|off)$/.test(line)) bad += 1;
        missing -= 1;
      }
      if (missing <= 0 && rest.endsWith('> ')) answered();
    });
    const stat = (): Promise<void> =>
      new Promise((resolve) => {
        missing = hosts.length;
        // ipmipower loses what it reads while it still writes its prompt: ask again rather than wait for ever
        const again = setInterval(() => child.stdin.write('stat\n'), 1000);
        answered = () => {
          clearInterval(again);
          resolve();
        };
        child.stdin.write('stat\n');
      });
    // its first look only discovers the hosts
    for (let tries = 0; tries < 50; tries++) {
      bad = 0;
      await stat();
      if (bad === 0) break;
    }
    const rounds = await rate(1, stat);
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.stdin.end('quit\n');
    await ended;
    if (bad > 0) console.warn(`ipmipower: ${bad} polls without an answer`);
    return rounds * hosts.length;
  };
  return { serial: await measure(bmcs.slice(0, 1)), parallel: await measure(bmcs) };
}

function installed(program: string): boolean {
  const found = spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
  if (!found) console.warn(`${program} is missing: its row stays empty`);
  return found;
}

function print(rows: readonly Row[]): void {
  const best = rows.at(-1);
  const cell = (value: number | undefined, top: number | undefined): string =>
    value === undefined ? '–' : `${value.toFixed(value < 100 ? 1 : 0)} (×${((top ?? value) / value).toFixed(1)})`;
  console.log(`\n${cpus().length} cores, ${SECONDS} s each, ${BMCS} ipmi_sim processes; in brackets: how much faster kept sessions are\n`);
  console.log(`| power-status polls/s | serial | ${BMCS} parallel |\n|---|---|---|`);
  for (const { what, serial, parallel } of rows)
    console.log(`| ${what} | ${cell(serial, best?.serial)} | ${cell(parallel, best?.parallel)} |`);
}
