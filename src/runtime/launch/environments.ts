/**
 * The environments that one image runs in. A service's ini carries the environment's suffix; production's carries none.
 * A name outside this table is refused: a typo must never start with production's configuration.
 */
import {
  nearestRunEnvironment,
  RUN_ENVIRONMENT_NAMES,
  RUN_ENVIRONMENTS,
  type RunEnvironment,
} from 'cdk8s-baremetal-contract/launch/environments';
import { launchErrors } from './errors.ts';

export type Environment = RunEnvironment;

/** One table for the constructs and for the programs. */
export const ENVIRONMENTS = RUN_ENVIRONMENTS;

const NAMES = RUN_ENVIRONMENT_NAMES;

/** The environment of this exact name; throws LAUNCH_RUNENV, which names the nearest. Unset and empty are refused alike. */
export function environmentOf(runenv: string | undefined): Environment {
  const found = ENVIRONMENTS.find(({ name }) => name === runenv);
  if (found) return found;
  const value = runenv ?? '';
  const known = NAMES.join(', ');
  throw launchErrors.LAUNCH_RUNENV({ value, known, nearest: nearestRunEnvironment(value) });
}

/** The ini of a service in its repository. */
export function iniName(proc: string, environment: Environment): string {
  return `${proc}.ini${environment.suffix}`;
}

/** PROC and GIT_DIR are one path segment each, and no option of any program. */
export const SERVICE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** This table as the part of images/launch/environment_start between its two marker lines. */
export function environmentFragment(): string {
  const suffixes = ENVIRONMENTS.map(({ name, suffix }) => `  ${name}) launch_suffix='${suffix}' ;;`);
  const called = ENVIRONMENTS.map(({ name, alsoCalled }) => `  ${alsoCalled.join(' | ')}) launch_meant=${name} ;;`);
  return [
    `launch_known='${NAMES.join(', ')}'`,
    `launch_names='${NAMES.join(' ')}'`,
    'launch_suffix_of() {',
    '  case $1 in',
    ...suffixes.map((line) => `  ${line}`),
    '    *) return 1 ;;',
    '  esac',
    '}',
    'launch_also_called() {',
    '  case $1 in',
    ...called.map((line) => `  ${line}`),
    '    *) return 1 ;;',
    '  esac',
    '}',
    '',
  ].join('\n');
}
