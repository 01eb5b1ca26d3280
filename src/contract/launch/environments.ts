/**
 * The environments that one image runs in. A service's ini carries the environment's suffix; production's carries none. A name
 * outside this table is refused, at synthesis and at the start: a typo must never start with production's configuration.
 */
import { nearest } from '../errors.ts';

export interface RunEnvironment {
  /** The value of RUNENV. */
  readonly name: string;
  /** What follows "<PROC>.ini" in the repository. */
  readonly suffix: string;
  /** What people also call it: not accepted, but understood well enough to be told the right name. */
  readonly alsoCalled: readonly string[];
}

export const RUN_ENVIRONMENTS: readonly RunEnvironment[] = [
  { name: 'product', suffix: '', alsoCalled: ['prod', 'prd', 'production', 'live'] },
  { name: 'pre', suffix: '.pre', alsoCalled: ['preprod', 'preproduction', 'stage', 'staging'] },
  { name: 'test', suffix: '.test', alsoCalled: ['testing', 'qa'] },
  { name: 'dev', suffix: '.dev', alsoCalled: ['develop', 'development', 'local'] },
];

export const RUN_ENVIRONMENT_NAMES: readonly string[] = RUN_ENVIRONMENTS.map(({ name }) => name);

/** The environment that somebody who wrote `value` most likely meant. */
export function nearestRunEnvironment(value: string): string | undefined {
  const word = value.toLowerCase();
  return RUN_ENVIRONMENTS.find(({ alsoCalled }) => alsoCalled.includes(word))?.name ?? nearest(word, RUN_ENVIRONMENT_NAMES);
}
