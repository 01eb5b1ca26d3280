/**
 * What runs before bms-core in the original's form: reads the VIP that the init container left, mounts /tftpboot from it,
 * then becomes the service under the same process id, so that signals reach it.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { CodedError, defineErrors, entry } from 'cdk8s-baremetal-contract/errors';
import { environmentVariable, PROVISIONING_VLAN, vipKey } from 'cdk8s-baremetal-contract/names';
import { path } from 'cdk8s-baremetal-contract/paths';

const VIP = vipKey(PROVISIONING_VLAN);

export const startErrors = defineErrors('Starting bms-core', {
  START_VIP_MISSING: entry<{ file: string }>({
    message: () => `not found vip of vlan ${PROVISIONING_VLAN}`,
    cure: ({ file }) => `Look at the init container: it writes ${VIP}=… to ${file}`,
  }),
  START_ENVIRONMENT_LINE: entry<{ file: string; line: number }>({
    message: ({ file, line }) => `line ${line} of ${file} is not KEY=VALUE`,
    cure: 'Let the init container write the file; it is data, never run by a shell',
  }),
  START_MOUNT: entry<{ source: string; reason: string }>({
    message: ({ source, reason }) => `mount ${source} nfs error: ${reason}`,
    cure: 'Check that the NFS server behind the VIP exports the folder to this node and that nfs-common is in the image',
  }),
});

/** Runs a program to its end. */
export type RunProgram = (command: readonly string[]) => { readonly status: number | null; readonly stderr: string };

export interface PrepareOptions {
  /** Content of /config/env. */
  readonly environmentText: string;
  /** Content of /proc/self/mountinfo. */
  readonly mounts: string;
  readonly run: RunProgram;
  readonly print: (line: string) => void;
  /** False when the folder comes from a volume. */
  readonly mountsTftpboot: boolean;
}

/**
 * Makes /tftpboot ready.
 * @throws CodedError of startErrors; the caller prints it and exits 1
 */
export function prepareTftpboot({ environmentText, mounts, run, print, mountsTftpboot }: PrepareOptions): void {
  const vip = parseEnvironment(environmentText, path.environmentFile).get(VIP) ?? '';
  print(`vip of vlan ${PROVISIONING_VLAN}: ${vip}`);
  if (vip === '') throw startErrors.START_VIP_MISSING({ file: path.environmentFile });
  if (!mountsTftpboot || isMounted(mounts, path.tftpRoot)) return;
  const source = `${vip}:${path.tftpRoot}`;
  const { status, stderr } = run(['mount', '-t', 'nfs', '-o', 'nolock,vers=3', source, path.tftpRoot]);
  if (status !== 0) throw startErrors.START_MOUNT({ source, reason: stderr.trim() || `mount ended with ${status}` });
}

/** KEY=VALUE lines; blank lines and # comments are skipped, quotes and $ have no meaning. */
function parseEnvironment(text: string, file: string): Map<string, string> {
  const values = new Map<string, string>();
  text.split('\n').forEach((line, index) => {
    if (line.trim() === '' || line.startsWith('#')) return;
    const match = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(line);
    if (!match?.[1]) throw startErrors.START_ENVIRONMENT_LINE({ file, line: index + 1 });
    values.set(match[1], match[2] ?? '');
  });
  return values;
}

/** Field 5 of a mountinfo line is the mount point, with blanks as \040 (proc(5)). */
function isMounted(mounts: string, folder: string): boolean {
  return mounts.split('\n').some((line) => line.split(' ')[4] === folder);
}

/** The program `start COMMAND …`. */
export function startBmsCore(command: readonly string[], env: Readonly<Record<string, string | undefined>>): void {
  try {
    const mountsTftpboot = env[environmentVariable.tftpboot] !== 'volume';
    if (mountsTftpboot) mkdirSync(path.tftpRoot, { recursive: true });
    prepareTftpboot({
      environmentText: readFileSync(path.environmentFile, 'utf8'),
      mounts: readFileSync('/proc/self/mountinfo', 'utf8'),
      run: ([program = '', ...args]) => {
        const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
        return { status, stderr: error ? error.message : stderr };
      },
      print: (line) => process.stdout.write(`${line}\n`),
      mountsTftpboot,
    });
  } catch (error) {
    process.stderr.write(`${error instanceof CodedError ? error : error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
    return;
  }
  becomeProgram(command);
}

/** Replaces this process: the same process id, nothing in between. */
function becomeProgram([program = '', ...args]: readonly string[]): void {
  const file = program === 'node' ? process.execPath : program;
  process.execve?.(file, [program, ...args], process.env);
}
