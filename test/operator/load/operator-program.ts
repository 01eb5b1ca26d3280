/** The operator as a program beside the test: started, asked for its metrics, stopped or killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';
import { MetricsPage } from './metrics-page.ts';

export interface OperatorProgramOptions {
  readonly kubeconfig: string;
  /** Where its Lease is. */
  readonly namespace: string;
  readonly podName?: string;
  /** Default: all. */
  readonly watchNamespaces?: readonly string[];
  /** Lease duration, renew deadline and retry period in ms; the program's own when absent. */
  readonly election?: readonly [number, number, number];
  /** Whether it cares for databases. Default false. */
  readonly databases?: boolean;
  /** Arguments of node. Default: the source as it is, through tsx. */
  readonly program?: readonly string[];
  /** Default silent. Logs go to stderr. */
  readonly logLevel?: string;
}

export interface OperatorProgram {
  readonly pid: number;
  /** Resolves with the exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>;
  metrics(): Promise<MetricsPage>;
  /** Status of a health endpoint. */
  health(path: '/healthz' | '/readyz'): Promise<{ readonly status: number; readonly body: string }>;
  /** Resident memory in MiB. */
  rssMib(): number;
  /** CPU seconds so far, of all its threads. */
  cpuSeconds(): number;
  signal(name: NodeJS.Signals): void;
  /** SIGTERM, and what it ended with. */
  stop(): Promise<number | string>;
}

const FROM_SOURCE = ['--import', 'tsx', 'test/operator/load/operator-process.ts'];

/** Resolves when its port answers. */
export async function startOperatorProgram(options: OperatorProgramOptions): Promise<OperatorProgram> {
  const {
    kubeconfig,
    namespace,
    podName = 'operator-0',
    watchNamespaces = [],
    election,
    program = FROM_SOURCE,
    databases = false,
    logLevel,
  } = options;
  const child = spawn(process.execPath, program, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env.PATH,
      KUBECONFIG: kubeconfig,
      POD_NAME: podName,
      POD_NAMESPACE: namespace,
      WATCH_NAMESPACES: watchNamespaces.join(','),
      ELECTION_MS: election?.join(',') ?? '',
      ...(databases && { DATABASES: 'yes' }),
      ...(logLevel !== undefined && { LOG_LEVEL: logLevel }),
    },
  });
  const exited = new Promise<number | string>((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown')));
  const port = await Promise.race([firstLine(child), exited.then((how) => Promise.reject(new Error(`the operator ended with ${how}`)))]);
  const pid = child.pid ?? 0;
  const get = async (path: string): Promise<{ readonly status: number; readonly body: string }> => {
    const { status, body } = await nodeNetwork.request({ url: `http://127.0.0.1:${port}${path}` });
    return { status, body: Buffer.from(body).toString() };
  };
  return {
    pid,
    exited,
    metrics: async () => new MetricsPage((await get('/metrics')).body),
    health: get,
    rssMib: () => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN) / 1024,
    cpuSeconds: () => {
      // fields after the name, which may hold blanks: state is the third, utime and stime the 14th and 15th, in ticks of 10 ms
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /, '')
        .split(' ');
      return (Number(fields[11]) + Number(fields[12])) / 100;
    },
    signal: (name) => void child.kill(name),
    stop: () => {
      child.kill('SIGTERM');
      return exited;
    },
  };
}

async function firstLine({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error('no standard output');
  for await (const line of createInterface({ input: stdout })) return line;
  throw new Error('the operator printed no port');
}
