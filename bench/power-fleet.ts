/** Part of bench/power.ts: thousands of simulated BMCs in other processes, each polled once a period by one gateway; then the same with some of them dead. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { IpmiGateway, IpmiPower, Secret } from 'cdk8s-baremetal-runtime/power/index';

export interface FleetOptions {
  readonly bmcs: number;
  /** After a first round that logs in. */
  readonly minutes: number;
  readonly periodMs: number;
}

const PASSWORD = 'correct-horse';
const DEAD_SHARE = 0.05;

interface Round {
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly longestMs: number;
  readonly cpuPercent: number;
  readonly rssMiB: number;
}

export async function pollFleet(options: FleetOptions): Promise<void> {
  const { bmcs, periodMs } = options;
  const child = fork(fileURLToPath(new URL('./power-fleet-bmcs.ts', import.meta.url)), [String(bmcs)], { execArgv: ['--import', 'tsx'] });
  try {
    const port = await new Promise<number>((resolve, reject) => {
      child.once('message', (message) => resolve((message as { port: number }).port));
      child.once('exit', (code) => reject(new Error(`the fleet ended with ${code}`)));
    });
    const gateway = new IpmiGateway({ clock: nodeClock, network: nodeNetwork, random: nodeRandom, logger: silentLogger });
    const password = new Secret(PASSWORD);
    const powers = Array.from(
      { length: bmcs },
      (_, i) => new IpmiPower(gateway, { address: addressOf(i), port, username: 'admin', password }),
    );
    console.log(
      `\n${bmcs.toLocaleString('en-US')} simulated BMCs in one other process, each polled every ${periodMs / 1000} s by one gateway\n`,
    );
    console.log('| | failed | median ms | 99 % ms | longest ms | CPU of a core | RSS |\n|---|---|---|---|---|---|---|');
    show('first round: log-ins', await rounds(powers, periodMs, 1, () => true));
    const count = Math.max(1, Math.round((options.minutes * 60_000) / periodMs));
    const alive = await rounds(powers, periodMs, count, () => true);
    show('sessions kept', alive);
    child.send({ dead: DEAD_SHARE });
    const dead = (i: number): boolean => i < bmcs * DEAD_SHARE;
    await rounds(powers, periodMs, 1, (i) => !dead(i)); // the breakers of the dead open
    show(
      `5 % dead: the other ${(bmcs - bmcs * DEAD_SHARE).toLocaleString('en-US')}`,
      await rounds(powers, periodMs, count, (i) => !dead(i)),
    );
    await gateway.close();
  } finally {
    child.kill('SIGKILL');
  }
}

/** 127.10.0.1 and on; each BMC has an address of its own. */
export function addressOf(index: number): string {
  return `127.10.${(index / 250) | 0}.${(index % 250) + 1}`;
}

/** Every BMC once a period, spread evenly over it, as the daemon does; delays of those that count. */
async function rounds(powers: readonly IpmiPower[], periodMs: number, count: number, counts: (index: number) => boolean): Promise<Round> {
  const delays: number[] = [];
  let failed = 0;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const under: Promise<void>[] = [];
  const total = powers.length * count;
  for (let next = 0; next < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - start) / (periodMs * count)) * total));
    for (; next < due; next++) {
      const index = next % powers.length;
      const asked = performance.now();
      const poll = powers[index]?.status().then(
        () => {
          if (counts(index)) delays.push(performance.now() - asked);
        },
        () => {
          if (counts(index)) failed += 1;
        },
      );
      if (poll) under.push(poll);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  await Promise.all(under);
  const sorted = delays.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return {
    failed,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    longestMs: sorted.at(-1) ?? Number.NaN,
    cpuPercent: (user + system) / 1e4 / seconds,
    rssMiB: process.memoryUsage().rss / 2 ** 20,
  };
}

function show(what: string, { failed, p50Ms, p99Ms, longestMs, cpuPercent, rssMiB }: Round): void {
  const ms = [p50Ms, p99Ms, longestMs].map((value) => Number(value.toPrecision(2)));
  console.log(`| ${[what, failed, ...ms, `${cpuPercent.toFixed(1)} %`, `${rssMiB.toFixed(0)} MiB`].join(' | ')} |`);
}
