/** What can be wrong with a service of one image in many environments, for whoever writes it. */
import { defineErrors, entry } from 'cdk8s-baremetal-contract';

const hint = (nearest: string | undefined): string => (nearest === undefined ? '' : ` (did you mean "${nearest}"?)`);

export const environmentErrors = defineErrors('Environment services', {
  ENVIRONMENT_RUNENV: entry<{ at: string; value: string; known: readonly string[]; nearest: string | undefined }>({
    message: ({ at, value, nearest }) => `${at} is "${value}", which is no environment${hint(nearest)}`,
    cure: ({ known }) => `Use one of ${known.join(', ')}; no other name ever means production`,
  }),
  ENVIRONMENT_VALUE: entry<{ at: string; value: string; rule: string }>({
    message: ({ at, value, rule }) => `${at} is ${value}: it ${rule}`,
    cure: 'Correct the value',
  }),
  ENVIRONMENT_REVISION: entry<{ at: string; value: string }>({
    message: ({ at, value }) => `${at} is "${value}", not a full commit id`,
    cure: 'Give all 40 (or 64) hexadecimal digits: a branch or a tag can move; `git ls-remote <project> <name>` prints what it means today',
  }),
  ENVIRONMENT_PROJECT: entry<{ at: string; reason: string }>({
    message: ({ at, reason }) => `${at} is refused: ${reason} (value not shown)`,
    cure: 'Use https://host/path or ssh://user@host/path, and name a Secret for the credentials',
  }),
  ENVIRONMENT_CREDENTIALS_IN_CLEAR: entry<{ at: string }>({
    message: ({ at }) => `${at} would be sent in clear: the project is on http`,
    cure: 'Use https, or take the credentials away from a project that everybody may read',
  }),
  ENVIRONMENT_SECRET_AS_VALUE: entry<{ at: string }>({
    message: ({ at }) => `${at} holds a password, which would be written to dist/ (value not shown)`,
    cure: 'Create a Secret with it and name the Secret',
  }),
  VALUES_SYNTAX: entry<{ reason: string }>({
    message: ({ reason }) => `this is not YAML: ${reason}`,
    cure: 'Correct the line',
  }),
  VALUES_KEY: entry<{ key: string; nearest: string | undefined; known: readonly string[] }>({
    message: ({ key, nearest }) => `unknown key "${key}"${hint(nearest)}`,
    cure: ({ known }) => `Use one of ${known.join(', ')}`,
  }),
  VALUES_MISSING: entry<{ key: string }>({
    message: ({ key }) => `"${key}" is missing`,
    cure: ({ key }) => `Add "${key}"`,
  }),
  VALUES_KIND: entry<{ key: string; expected: string }>({
    message: ({ key, expected }) => `"${key}" is not ${expected}`,
    cure: 'Correct the value, in quotes where YAML would read a number',
  }),
  LOGSTASH_VALUE: entry<{ at: string; value: string; rule: string }>({
    message: ({ at, value, rule }) => `${at} is ${value}: it ${rule}`,
    cure: 'Correct the value',
  }),
});
