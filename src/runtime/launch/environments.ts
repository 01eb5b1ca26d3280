/**
 * The environments that one image runs in. A service's ini carries the environment's suffix; production's carries none.
 * A name outside this table is refused: a typo must never start with production's configuration.
 */
import { nearest } from 'cdk8s-baremetal-contract/errors';
import { launchErrors } from './errors.ts';

export interface Environment {
  /** The value of RUNENV. */
  readonly name: string;
  /** What follows "<PROC>.ini" in the repository. */
  readonly suffix: string;
  /** What people also call it: not accepted, but understood well enough to be told the right name. */
  readonly alsoCalled: readonly string[];
}

export const ENVIRONMENTS: readonly Environment[] = [
  { name: 'product', suffix: '', alsoCalled: ['prod', 'prd', 'production', 'live'] },
  { name: 'pre', suffix: '.pre', alsoCalled: ['preprod', 'preproduction', 'stage', 'staging'] },
  { name: 'test', suffix: '.test', alsoCalled: ['testing', 'qa'] },
  { name: 'dev', suffix: '.dev', alsoCalled: ['develop', 'development', 'local'] },
];

const NAMES = ENVIRONMENTS.map(({ name }) => name);

/** The environment of this exact name; throws LAUNCH_RUNENV, which names the nearest. Unset and empty are refused alike. */
export function environmentOf(runenv: string | undefined): Environment {
  const found = ENVIRONMENTS.find(({ name }) => name === runenv);
  if (found) return found;
  const value = runenv ?? '';
  const known = NAMES.join(', ');
  throw launchErrors.LAUNCH_RUNENV({ value, known, nearest: meant(value) });
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

function meant(value: string): string | undefined {
  const word = value.toLowerCase();
  return ENVIRONMENTS.find(({ alsoCalled }) => alsoCalled.includes(word))?.name ?? nearest(word, NAMES);
}
