/**
 * One exact commit of a repository, put where the service expects it: what the gitRepo volume did (CVE-2024-10220), as
 * an init container that runs nothing of the repository's. The tree appears whole, by a rename, or not at all.
 */
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { posix } from 'node:path';
import { CodedError } from 'cdk8s-baremetal-contract/errors';
import { type Clock, withDeadline } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import { launchErrors } from './errors.ts';
import { type GitProject, type GitProtocol, gitEnvironment, parseProject } from './git-environment.ts';
import type { ProcessResult, ProcessRunner } from './process-runner.ts';

export const DEFAULT_DEADLINE_MS = 120_000;
export const DEFAULT_PROTOCOLS: readonly GitProtocol[] = ['https', 'ssh'];
const FULL_ID = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

export interface CheckoutOptions {
  /** https:// or ssh:// URL, without credentials. */
  readonly project: string;
  /** Full commit id: 40 (SHA-1) or 64 (SHA-256) hexadecimal digits. */
  readonly revision: string;
  /** Absolute path of the working tree. Its parent must be on the same file system, and is made when missing. */
  readonly target: string;
  /** Directory of a mounted Secret. */
  readonly credentials?: string;
  /** Default: https and ssh. */
  readonly protocols?: readonly GitProtocol[];
  /** For everything together. Default 120,000. */
  readonly deadlineMs?: number;
  /** Where git and ssh are looked for. Default: the usual system directories. */
  readonly path?: string;
  readonly runner: ProcessRunner;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal?: AbortSignal;
}

/** Resolves when `target` is a checkout whose HEAD is `revision`. What was there before is replaced, also when it is the same. */
export async function checkout(options: CheckoutOptions): Promise<void> {
  const revision = options.revision.toLowerCase();
  if (!FULL_ID.test(revision)) throw launchErrors.LAUNCH_GIT_REVISION({ value: options.revision });
  const project = parseProject(options.project, options.protocols ?? DEFAULT_PROTOCOLS);
  const parent = posix.dirname(options.target);
  mkdirSync(parent, { recursive: true });
  const fresh = `${parent}/.${posix.basename(options.target)}.checkout-new`;
  rmSync(fresh, { recursive: true, force: true }); // of a run that was killed
  const home = mkdtempSync(posix.join(tmpdir(), 'checkout-'));
  const deadlineMs = options.deadlineMs ?? DEFAULT_DEADLINE_MS;
  let running: Promise<void> | undefined;
  try {
    const environment = gitEnvironment({
      project,
      home,
      credentials: options.credentials,
      path: options.path ?? '/usr/local/bin:/usr/bin:/bin',
    });
    await withDeadline(
      options.clock,
      deadlineMs,
      () => launchErrors.LAUNCH_GIT_DEADLINE({ project: project.url, seconds: deadlineMs / 1000 }),
      (signal) => {
        running = fetchAndVerify({ runner: options.runner, log: options.log, environment, signal, tree: fresh }, project, revision);
        return running;
      },
      options.signal,
    );
    swap(fresh, options.target);
    options.log.info(`Checked out ${revision} to ${options.target}`);
  } finally {
    // at the deadline git has been killed, and is waited for: it must not write into what is removed here
    await running?.catch(() => undefined);
    rmSync(fresh, { recursive: true, force: true });
    rmSync(home, { recursive: true, force: true });
  }
}

interface GitContext {
  readonly runner: ProcessRunner;
  readonly log: Logger;
  readonly environment: Record<string, string>;
  readonly signal: AbortSignal;
  readonly tree: string;
}

async function fetchAndVerify(git: GitContext, project: GitProject, revision: string): Promise<void> {
  const format = revision.length === 64 ? 'sha256' : 'sha1';
  await must(git, 'init', ['init', '--quiet', `--object-format=${format}`, '--', git.tree], '/');
  await fetchRevision(git, project, revision);
  await must(git, 'checkout', ['checkout', '--quiet', '--detach', '--force', revision]);
  const head = (await must(git, 'rev-parse', ['rev-parse', '--verify', 'HEAD'])).stdout.trim();
  if (head !== revision) throw launchErrors.LAUNCH_GIT_HEAD({ revision, head });
  refuseEscapingLinks(git.tree);
}

/** The one object that is wanted; a server that only gives what a name points to is asked for all its names. */
async function fetchRevision(git: GitContext, project: GitProject, revision: string): Promise<void> {
  const base = ['fetch', '--quiet', '--no-tags', '--no-recurse-submodules', '--no-write-fetch-head'];
  const exact = await run(git, [...base, '--depth=1', '--', project.url, revision]);
  if (exact.exitCode === 0) return;
  if (!refusesObjects(exact.stderr)) throw failure('fetch', exact);
  git.log.info('The server does not give single commits: fetching all branches and tags');
  const all = await run(git, [...base, '--', project.url, '+refs/heads/*:refs/remotes/origin/*', '+refs/tags/*:refs/tags/*']);
  if (all.exitCode !== 0) throw failure('fetch', all);
  const found = await run(git, ['cat-file', '-e', `${revision}^{commit}`]);
  if (found.exitCode !== 0) throw launchErrors.LAUNCH_GIT_NO_REVISION({ project: project.url, revision });
}

/** Said by the upload-pack of git, GitHub and Gerrit, and by git's own check of a peer that announces no such ability. */
function refusesObjects(stderr: string): boolean {
  return /not our ref|unadvertised object|want \S+ not valid|couldn't find remote ref|did not send all necessary objects|no such ref/i.test(
    stderr,
  );
}

/**
 * A link in the tree may name only what is in the tree: the start script runs with the Secrets of the service within
 * reach. Read from the files and not from git's listing, whose names need not be text. Names are bytes here (latin1).
 */
function refuseEscapingLinks(tree: string): void {
  const visit = (directory: string): void => {
    for (const entry of readdirSync(within(tree, directory), { encoding: 'latin1', withFileTypes: true })) {
      const path = directory === '' ? entry.name : `${directory}/${entry.name}`;
      if (path === '.git') continue;
      if (entry.isDirectory()) visit(path);
      if (!entry.isSymbolicLink()) continue;
      const target = readlinkSync(within(tree, path), 'latin1');
      if (linkEscapes(path, target)) throw launchErrors.LAUNCH_GIT_TREE({ path, target });
    }
  };
  visit('');
}

/** ".." is allowed in front, counted from the link's own place; behind a name it could leave through another link. */
export function linkEscapes(path: string, target: string): boolean {
  if (target === '' || target.startsWith('/')) return true;
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const up = parts.findIndex((part) => part !== '..');
  const climbs = up < 0 ? parts.length : up;
  const depth = path.split('/').length - 1;
  return climbs > depth || parts.slice(climbs).includes('..') || parts.slice(climbs)[0] === '.git';
}

async function must(git: GitContext, step: string, args: readonly string[], directory?: string): Promise<ProcessResult> {
  const result = await run(git, args, directory);
  if (result.exitCode !== 0) throw failure(step, result);
  return result;
}

async function run(git: GitContext, args: readonly string[], directory = git.tree): Promise<ProcessResult> {
  try {
    return await git.runner.run({ program: 'git', args, environment: git.environment, directory, signal: git.signal });
  } catch (error) {
    if (git.signal.aborted || error instanceof CodedError) throw error;
    throw launchErrors.LAUNCH_GIT_PROGRAM({ reason: (error as NodeJS.ErrnoException).code ?? (error as Error).message }, { cause: error });
  }
}

function failure(step: string, { exitCode, killedBy, stderr }: ProcessResult): Error {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '');
  const told = lines.filter((line) => /^(?:fatal|error|remote):/.test(line));
  const detail = (told.length > 0 ? told : lines)
    .join(' ')
    .replaceAll(/\p{Cc}/gu, '')
    .slice(0, 300);
  return launchErrors.LAUNCH_GIT_FAILED({ step, exit: killedBy ?? `exit code ${exitCode}`, detail });
}

function swap(fresh: string, target: string): void {
  const old = `${posix.dirname(target)}/.${posix.basename(target)}.checkout-old`;
  rmSync(old, { recursive: true, force: true });
  if (lstatSync(target, { throwIfNoEntry: false })) renameSync(target, old);
  renameSync(fresh, target);
  rmSync(old, { recursive: true, force: true });
}

function within(tree: string, latin1Path: string): Buffer {
  return Buffer.concat([Buffer.from(`${tree}/`), Buffer.from(latin1Path, 'latin1')]);
}
