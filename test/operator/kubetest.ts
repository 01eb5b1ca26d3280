/** An API server of a test's own, which it may stop, start and make forget. */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { resourceTypes } from '../../src/operator/engine/resource-types.ts';
import { isFree } from '../support/free-port.ts';
import { realApi } from './cluster.ts';

const program = process.env.KUBETEST ?? '../shared/tools/kubetest';
const built = join(process.env.KUBETEST_HOME ?? join(homedir(), '.cache/kubetest'), 'bin/kube-apiserver');

/** Skips a suite aloud where no API server can be started. */
export function withoutKubetest(suite: string): boolean {
  const missing =
    process.env.BMS_TEST_CLUSTER !== '1'
      ? 'no cluster for tests (set BMS_TEST_CLUSTER=1)'
      : !existsSync(program)
        ? 'no kubetest (set KUBETEST to its path)'
        : !existsSync(built)
          ? `kubetest is not built (${program} build)`
          : undefined;
  if (missing !== undefined) console.warn(`SKIPPED ${suite}: ${missing}`);
  return missing !== undefined;
}

export interface Kubetest {
  readonly kubeconfig: string;
  start(): void;
  stop(): void;
  /** etcd forgets everything but the current state of each object. */
  compact(): Promise<void>;
  remove(): void;
}

export interface KubetestOptions {
  /** Requests a second of each controller of the controller manager; its own default, 20, when absent. */
  readonly controllersPerSecond?: number;
}

export async function startKubetest({ controllersPerSecond }: KubetestOptions = {}): Promise<Kubetest> {
  const folder = mkdtempSync(join(tmpdir(), 'kubetest-'));
  const port = await freePorts();
  const run = (command: string): void =>
    void execFileSync(program, [command, folder], {
      env: { ...process.env, KUBETEST_PORT: String(port) },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  const kubeconfig = join(folder, 'kubeconfig');
  const up = (): void => {
    run('up');
    if (controllersPerSecond !== undefined) hurryControllers(join(folder, 'controller-manager.pid'), controllersPerSecond);
  };
  up();
  /** As in a crash: told politely, the API server would keep open watches for a minute. */
  const crash = (): void => {
    for (const name of ['controller-manager', 'apiserver']) {
      const pid = join(folder, `${name}.pid`);
      if (existsSync(pid)) process.kill(Number(readFileSync(pid, 'utf8')), 'SIGKILL');
    }
    run('down');
  };
  return {
    kubeconfig,
    start: up,
    stop: crash,
    compact: async () => {
      const real = realApi(kubeconfig);
      const { resourceVersion } = await real.api.list(resourceTypes.namespaces);
      await real.close();
      const answer = await fetch(`http://127.0.0.1:${port + 1}/v3/kv/compaction`, {
        method: 'POST',
        body: JSON.stringify({ revision: resourceVersion, physical: true }),
      });
      if (!answer.ok) throw new Error(`etcd: ${await answer.text()}`);
    },
    remove: () => {
      crash();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Starts the controller manager once more, with the arguments that it has and this limit. */
function hurryControllers(pidFile: string, perSecond: number): void {
  const pid = Number(readFileSync(pidFile, 'utf8'));
  const isManager = (word: string): boolean => word.endsWith('/kube-controller-manager');
  let line: string[] = [];
  // what was started a moment ago may be the shell yet, or setsid
  for (let turn = 0; turn < 100 && !isManager(line[0] ?? ''); turn++) {
    if (turn > 0) execFileSync('sleep', ['0.05']);
    line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  }
  const [command = '', ...args] = line;
  if (!isManager(command)) throw new Error(`no controller manager, but ${line.join(' ')}`);
  process.kill(pid, 'SIGKILL');
  const log = openSync(pidFile.replace(/pid$/, 'log'), 'a');
  const limits = [`--kube-api-qps=${perSecond}`, `--kube-api-burst=${2 * perSecond}`];
  const child = spawn(command, [...args, ...limits], { stdio: ['ignore', log, log], detached: true });
  closeSync(log);
  child.unref();
  writeFileSync(pidFile, `${child.pid}\n`);
}

/** Four free ports in a row: API server, etcd's two, controller manager. */
async function freePorts(): Promise<number> {
  for (let port = 30_000 + (process.pid % 500) * 4; port < 32_700; port += 4) {
    const free = await Promise.all([0, 1, 2, 3].map((offset) => isFree(port + offset)));
    if (free.every(Boolean)) return port;
  }
  throw new Error('no free ports');
}
