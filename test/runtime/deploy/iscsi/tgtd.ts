/** Debian's tgt as a foreign target on loopback, with a control socket of its own. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { sleep } from 'cdk8s-baremetal-runtime/core/clock';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { freePort } from '../../../support/free-port.ts';

export function hasProgram(name: string): boolean {
  return spawnSync('which', [name]).status === 0;
}

/** Says aloud which programs are missing; empty when all are there. */
export function missingPrograms(programs: Readonly<Record<string, string>>): string[] {
  const missing = Object.entries(programs).filter(([name]) => !hasProgram(name));
  for (const [name, debianPackage] of missing) console.warn(`SKIPPED: ${name} is missing (Debian package ${debianPackage})`);
  return missing.map(([name]) => name);
}

/** Processor time of a process so far, user and system. Linux only. */
export function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100; // utime, stime in USER_HZ
}

export class Tgtd {
  private constructor(
    readonly port: number,
    private readonly process: ChildProcess,
    private readonly environment: NodeJS.ProcessEnv,
  ) {}

  /** `folder` must be short: it holds a Unix socket. */
  static async start(folder: string, wanted?: number): Promise<Tgtd> {
    const port = wanted ?? (await freePort());
    const environment = { ...process.env, TGT_IPC_SOCKET: `${folder}/ctl` };
    const child = spawn('tgtd', ['-f', '--iscsi', `portal=127.0.0.1:${port}`], { env: environment, stdio: 'ignore' });
    const tgtd = new Tgtd(port, child, environment);
    for (let tries = 0; ; tries++) {
      const shown = spawnSync('tgtadm', ['--lld', 'iscsi', '--op', 'show', '--mode', 'target'], { env: environment });
      if (shown.status === 0) return tgtd;
      if (tries > 100 || child.exitCode !== null) throw new Error(`tgtd does not start: ${shown.stderr}`);
      await sleep(nodeClock, 50);
    }
  }

  admin(...args: string[]): string {
    return execFileSync('tgtadm', ['--lld', 'iscsi', ...args], { env: this.environment, encoding: 'utf8' });
  }

  /** A target with one LUN, 1, over a new sparse file, or the one that is there. */
  addDisk(tid: number, name: string, path: string, sizeBytes: number, { keep = false } = {}): void {
    if (!keep) writeFileSync(path, '');
    truncateSync(path, sizeBytes);
    this.admin('--op', 'new', '--mode', 'target', '--tid', `${tid}`, '-T', name);
    this.admin('--op', 'new', '--mode', 'logicalunit', '--tid', `${tid}`, '--lun', '1', '-b', path);
    this.admin('--op', 'bind', '--mode', 'target', '--tid', `${tid}`, '-I', 'ALL');
  }

  /** Processor time so far, user and system. Linux only. */
  cpuSeconds(): number {
    return cpuSecondsOf(this.pid);
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null) return;
    this.process.kill('SIGKILL');
    await once(this.process, 'exit');
  }
}
