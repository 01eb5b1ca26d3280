/**
 * Power-status polls a second against OpenIPMI's ipmi_sim on loopback: the gateway's kept sessions, and a session for each poll, against a process per poll (ipmitool)
 * and one FreeIPMI ipmipower that asks them all. Then 10,000 simulated BMCs in other processes, polled every minute by one gateway. Prints the tables of docs/benchmarks.md.
 *
 *   npm run bench:power [-- --quick]            needs the Debian packages openipmi, ipmitool, freeipmi-tools; about six minutes, four of them for the fleet; --quick: one
 *
 * 64 BMCs are 64 ipmi_sim processes on 127.0.1.1 to 127.0.1.64. They have no chassis script, which would cost a fork per poll: the protocol is
 * what is measured. They share the cores with the client. The clients take turns, five rounds each; medians. The gateway's rate limit is off: it would be what is measured.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Endpoint, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { IpmiGateway, IpmiPower, Secret } from 'cdk8s-baremetal-runtime/power/index';
import { pollFleet } from './power-fleet.ts';

const deps = {
  clock: nodeClock,
  network: nodeNetwork,
  random: nodeRandom,
  logger: silentLogger,
  commandsPerSecond: Number.POSITIVE_INFINITY,
};
const QUICK = process.argv.includes('--quick');
const ONLY = process.argv.find((arg) => arg.startsWith('--only='))?.slice(7);
const SECONDS = QUICK ? 1 : 2;
const ROUNDS = QUICK ? 2 : 5;
const PASSWORD = 'correct-horse';
const BMCS = 64;
const TICK_MICROSECONDS = 10_000; // USER_HZ is 100 on every Linux

interface Measured {
  readonly pollsPerSecond: number;
  /** Of the client, user and system. */
  readonly cpuMicroseconds: number;
  /** Of the BMCs, which share the cores: what no client can get below. */
  readonly bmcMicroseconds: number;
}

/** One client: `measure` runs it once against so many of the BMCs. */
interface Client {
  readonly what: string;
  measure(bmcs: readonly Endpoint[]): Promise<Omit<Measured, 'bmcMicroseconds'>>;
  close(): Promise<void>;
}

const began = performance.now();
const directory = await mkdtemp(join(tmpdir(), 'bench-ipmi-'));
const simulators: ChildProcess[] = [];
try {
  if (ONLY !== 'fleet') {
    const bmcs = await startSimulators();
    const clients = [
      ...(ONLY === 'ours' || !installed('ipmitool') ? [] : [ipmitool()]),
      ...(ONLY === 'ours' || !installed('ipmipower') ? [] : [await ipmipower(bmcs)]),
      await ours('ours, a session each poll', bmcs, true),
      await ours('ours, sessions kept', bmcs, false),
    ];
    const serial = clients.map((): Measured[] => []);
    const parallel = clients.map((): Measured[] => []);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [index, client] of clients.entries()) serial[index]?.push(await withBmcs(() => client.measure(bmcs.slice(0, 1))));
      for (const [index, client] of clients.entries()) parallel[index]?.push(await withBmcs(() => client.measure(bmcs)));
    }
    for (const client of clients) await client.close();
    print(clients.map(({ what }, index) => ({ what, serial: median(serial[index] ?? []), parallel: median(parallel[index] ?? []) })));
  }
} finally {
  for (const simulator of simulators) simulator.kill('SIGKILL');
  await rm(directory, { recursive: true, force: true });
}
if (ONLY === undefined || ONLY === 'fleet')
  await pollFleet(QUICK ? { bmcs: 2000, minutes: 1 / 6, periodMs: 10_000 } : { bmcs: 10_000, minutes: 1, periodMs: 60_000 });
console.log(`\nThat took ${Math.round((performance.now() - began) / 1000)} s.`);

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

async function withBmcs(measure: () => Promise<Omit<Measured, 'bmcMicroseconds'>>): Promise<Measured> {
  const spent = (): number => simulators.reduce((sum, { pid }) => sum + cpuMicroseconds(pid ?? 0), 0);
  const before = spent();
  const start = performance.now();
  const measured = await measure();
  const polls = (measured.pollsPerSecond * (performance.now() - start)) / 1000;
  return { ...measured, bmcMicroseconds: (spent() - before) / polls };
}

/** `workers` loops over `poll` until the time is up. */
async function rate(workers: number, poll: (worker: number) => Promise<void>): Promise<{ polls: number; seconds: number }> {
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
  return { polls, seconds: (performance.now() - start) / 1000 };
}

async function ours(what: string, all: readonly Endpoint[], sessionEach: boolean): Promise<Client> {
  const gateway = new IpmiGateway(deps);
  const powers = all.map((bmc) => power(gateway, bmc));
  await Promise.all(powers.map((one) => one.status()));
  return {
    what,
    async measure(bmcs) {
      const before = process.cpuUsage();
      const { polls, seconds } = await rate(bmcs.length, async (worker) => {
        const one = powers[worker];
        const state = await one?.status();
        if (state !== 'on' && state !== 'off') throw new Error(`a poll said ${state}`);
        if (sessionEach) await one?.close();
      });
      const { user, system } = process.cpuUsage(before);
      return { pollsPerSecond: polls / seconds, cpuMicroseconds: (user + system) / polls };
    },
    close: () => gateway.close(),
  };
}

function ipmitool(): Client {
  return {
    what: 'ipmitool, a process each (-C 3)',
    async measure(bmcs) {
      const before = childrenCpuMicroseconds();
      const { polls, seconds } = await rate(bmcs.length, (worker) => {
        const { address = '', port = 0 } = bmcs[worker] ?? {};
        const where = ['-I', 'lanplus', '-H', address, '-p', String(port), '-C', '3'];
        const args = [...where, '-U', 'admin', '-f', join(directory, 'password'), 'power', 'status'];
        return new Promise((resolve, reject) => {
          const child = spawn('ipmitool', args, { stdio: ['ignore', 'pipe', 'inherit'] });
          let output = '';
          child.stdout.on('data', (chunk) => {
            output += chunk;
          });
          child.once('error', reject);
          child.once('close', () => (output.startsWith('Chassis Power is ') ? resolve() : reject(new Error(`ipmitool: ${output}`))));
        });
      });
      return { pollsPerSecond: polls / seconds, cpuMicroseconds: (childrenCpuMicroseconds() - before) / polls };
    },
    close: async () => undefined,
  };
}

/** ipmipower on its own prompt: `stat` asks all hosts, and the next `stat` follows when all have answered. One process for one host, one for all. */
async function ipmipower(all: readonly Endpoint[]): Promise<Client> {
  const one = await ipmipowerProcess(all.slice(0, 1));
  const many = await ipmipowerProcess(all);
  return {
    what: 'ipmipower, one process (-I 3)',
    async measure(bmcs) {
      const { child, stat, bad, lines } = bmcs.length === 1 ? one : many;
      const linesBefore = lines();
      const before = cpuMicroseconds(child.pid ?? 0);
      const badBefore = bad();
      const { polls: rounds, seconds } = await rate(1, stat);
      const polls = rounds * bmcs.length;
      if (bad() > badBefore) console.warn(`ipmipower: ${bad() - badBefore} of ${polls} polls without an answer`);
      // what it really answered, not what was asked for
      const answered = lines() - linesBefore;
      return { pollsPerSecond: answered / seconds, cpuMicroseconds: (cpuMicroseconds(child.pid ?? 0) - before) / answered };
    },
    async close() {
      for (const { child } of [one, many]) {
        const ended = new Promise((resolve) => child.once('close', resolve));
        child.stdin?.end('quit\n');
        await ended;
      }
    },
  };
}

async function ipmipowerProcess(
  hosts: readonly Endpoint[],
): Promise<{ child: ChildProcess; stat(): Promise<void>; bad(): number; lines(): number }> {
  const list = hosts.map(({ address, port }) => `${address}:${port}`).join(',');
  const config = ['--config-file', join(directory, 'freeipmi.conf'), '-W', 'opensesspriv', '-F', String(BMCS)];
  const child = spawn('ipmipower', ['-D', 'LAN_2_0', '-I', '3', '-h', list, ...config], { stdio: ['pipe', 'pipe', 'inherit'] });
  let missing = 0;
  let bad = 0;
  let lineCount = 0;
  let answered: () => void = () => undefined;
  let rest = '';
  child.stdout.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (!/: (on|off)$/.test(line)) bad += 1;
      missing -= 1;
      lineCount += 1;
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
    const before = bad;
    await stat();
    if (bad === before) break;
  }
  return { child, stat, bad: () => bad, lines: () => lineCount };
}

/** Of a process with one thread, to the nanosecond: the ticks of /proc/PID/stat miss most of what sleeps after each packet. */
function cpuMicroseconds(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1000;
}

/** cutime and cstime of /proc/PID/stat: of children that have ended. */
function childrenCpuMicroseconds(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[13]) + Number(fields[14])) * TICK_MICROSECONDS;
}

function installed(program: string): boolean {
  const found = spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
  if (!found) console.warn(`${program} is missing: it has no row`);
  return found;
}

function median(measured: readonly Measured[]): Measured {
  const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
  return {
    pollsPerSecond: middle(measured.map(({ pollsPerSecond }) => pollsPerSecond)),
    cpuMicroseconds: middle(measured.map(({ cpuMicroseconds: cpu }) => cpu)),
    bmcMicroseconds: middle(measured.map(({ bmcMicroseconds: cpu }) => cpu)),
  };
}

function print(rows: readonly { readonly what: string; readonly serial: Measured; readonly parallel: Measured }[]): void {
  const peer = rows.find(({ what }) => what.startsWith('ipmipower'));
  const cell = (value: Measured, base: Measured | undefined): string => {
    const { pollsPerSecond: polls, cpuMicroseconds: cpu, bmcMicroseconds: bmc } = value;
    const ratio = base && base !== value ? ` (×${(polls / base.pollsPerSecond).toFixed(2)})` : '';
    return `${whole(polls)}${ratio} | ${whole(cpu)} + ${whole(bmc)}`;
  };
  console.log(`\n| | serial | CPU | ${BMCS} BMCs in parallel | CPU |\n|---|---|---|---|---|`);
  for (const { what, serial, parallel } of rows)
    console.log(`| ${what} | ${cell(serial, peer?.serial)} | ${cell(parallel, peer?.parallel)} |`);
  console.log(`\n${cpus().length} cores, ${ROUNDS} rounds of ${SECONDS} s; in brackets: of ipmipower\n`);
  for (const { what, parallel } of rows.filter(({ what: name }) => name.startsWith('ours')))
    console.log(`${what}: with what a poll takes of us and of the BMCs, these cores end at ${whole(ceiling(parallel))}/s in parallel.`);
}

/** Our thread has a core at most, and both sides together have all of them. */
function ceiling({ cpuMicroseconds: cpu, bmcMicroseconds: bmc }: Measured): number {
  return 1e6 / Math.max(cpu, (cpu + bmc) / cpus().length);
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
