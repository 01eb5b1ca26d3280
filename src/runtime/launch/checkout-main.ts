/** The program checkout, as a function of its environment. */
import { CodedError } from 'cdk8s-baremetal-contract/errors';
import type { Clock } from '../core/clock.ts';
import { checkout, DEFAULT_DEADLINE_MS, DEFAULT_PROTOCOLS } from './checkout.ts';
import { SERVICE_NAME } from './environments.ts';
import { exitCodeOf, launchErrors } from './errors.ts';
import type { GitProtocol } from './git-environment.ts';
import { lineLogger } from './line-logger.ts';
import type { ProcessRunner } from './process-runner.ts';

export interface CheckoutProgram {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly runner: ProcessRunner;
  readonly clock: Clock;
  readonly write: (text: string) => void;
  readonly signal: AbortSignal;
  /** Put before /tmp in tests. */
  readonly root?: string;
}

/** Answers the exit code. GIT_PROJECT, GIT_REVISION and GIT_DIR are required. */
export async function checkoutMain({ environment, runner, clock, write, signal, root = '' }: CheckoutProgram): Promise<number> {
  const log = lineLogger(write);
  try {
    const credentials = environment.GIT_CREDENTIALS;
    await checkout({
      project: environment.GIT_PROJECT ?? '',
      revision: environment.GIT_REVISION ?? '',
      target: `${root}/tmp/${directoryName(environment.GIT_DIR)}`,
      deadlineMs: deadlineOf(environment.GIT_DEADLINE),
      protocols: protocolsOf(environment.GIT_PROTOCOLS),
      ...(credentials !== undefined && { credentials }),
      runner,
      clock,
      log,
      signal,
    });
    return 0;
  } catch (error) {
    log.error(error instanceof CodedError ? error.toString() : `Unexpected error: ${String(error)}`);
    return error instanceof CodedError ? exitCodeOf(error.code) : 2;
  } finally {
    log.flush();
  }
}

function directoryName(value = ''): string {
  if (!SERVICE_NAME.test(value)) throw launchErrors.LAUNCH_NAME({ name: 'GIT_DIR', value });
  return value;
}

function deadlineOf(value: string | undefined): number {
  if (value === undefined) return DEFAULT_DEADLINE_MS;
  const seconds = Number(value);
  if (!/^\d{1,6}$/.test(value) || seconds === 0)
    throw launchErrors.LAUNCH_ENVIRONMENT({ name: 'GIT_DEADLINE', value, expected: 'a whole number of seconds' });
  return seconds * 1000;
}

function protocolsOf(value: string | undefined): readonly GitProtocol[] {
  if (value === undefined) return DEFAULT_PROTOCOLS;
  const all: readonly GitProtocol[] = ['https', 'ssh', 'http', 'file'];
  return value.split(/[\s,]+/).map((word) => {
    const known = all.find((name) => name === word);
    if (!known) throw launchErrors.LAUNCH_ENVIRONMENT({ name: 'GIT_PROTOCOLS', value, expected: `a list of ${all.join(', ')}` });
    return known;
  });
}
