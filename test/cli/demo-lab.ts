/** Runs the demo as a test: on a pod and ports of its own, in a folder of its own, and looks at what it leaves. */
import { readdirSync } from 'node:fs';
import { App } from 'cdk8s';
import type { SiteInput } from 'cdk8s-baremetal-contract';
import { type Logger, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { wuxi2 } from '../../examples/wuxi2.ts';
import { type DemoOptions, type RunningDemo, runDemo } from '../../src/cli/demo/run-demo.ts';
import { SpyClock, SpyNetwork } from './spies.ts';

/** Loopback addresses 127.0.77.0/24 and ports below 32,768, where the kernel takes its own from. */
export const POD = 'pod77';
export const PORT_BASE = 20_000;

export interface DemoRun {
  /** Undefined when it went well. */
  readonly error: unknown;
  readonly lines: readonly string[];
  readonly network: SpyNetwork;
  readonly clock: SpyClock;
  /** As it was when the machines were enrolled; undefined when it did not come so far. */
  readonly running: RunningDemo | undefined;
  /** Names of the simulated machines' events, in order. */
  readonly events: readonly string[];
}

export interface DemoRunOptions
  extends Partial<Pick<DemoOptions, 'nodes' | 'image' | 'keep' | 'enrolledPassword' | 'enrolledDiskSerial' | 'diskBytes'>> {
  readonly started?: (running: RunningDemo) => void;
  /** Called at each event of a machine, each change of state, each line and each progress line; `stop` is what ^C does. */
  readonly watch?: (what: string, stop: () => void) => void;
  readonly portBase?: number;
}

export const INTERRUPT = new Error('interrupted by the test');

export async function demo({ watch, started, ...given }: DemoRunOptions = {}): Promise<DemoRun> {
  const controller = new AbortController();
  const stop = (): void => controller.abort(INTERRUPT);
  const lines: string[] = [];
  const events: string[] = [];
  const network = new SpyNetwork();
  const clock = new SpyClock();
  let running: RunningDemo | undefined;
  const logger: Logger = {
    ...silentLogger,
    debug: (first: unknown, message?: string) => {
      if (message !== 'simulated server') return;
      const { type } = first as { type: string };
      events.push(type);
      watch?.(type, stop);
    },
    info: (first: unknown) => {
      if (typeof first === 'object' && first !== null && 'from' in first && 'to' in first) watch?.(`${first.from} → ${first.to}`, stop);
    },
    child: () => logger,
  };
  const tell = (line: string): void => {
    lines.push(line);
    watch?.(line, stop);
  };
  let error: unknown;
  try {
    await runDemo({
      site: site(),
      nodes: 1,
      diskBytes: 64 * 1024 ** 2,
      portBase: PORT_BASE,
      signal: controller.signal,
      network,
      clock,
      random: nodeRandom,
      logger,
      print: tell,
      progress: tell,
      started: (demo) => {
        running = demo;
        started?.(demo);
      },
      ...given,
    });
  } catch (thrown) {
    error = thrown;
  }
  return { error, lines, network, clock, running, events };
}

export function demoFolders(temporary: string): string[] {
  return readdirSync(temporary).filter((name) => name.startsWith('bms-demo-'));
}

/** The example site under another pod's name, and so on other addresses. */
function site(): SiteInput {
  return JSON.parse(JSON.stringify(wuxi2(new App()).input).replaceAll('pod45', POD)) as SiteInput;
}
