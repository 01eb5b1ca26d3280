/** What the manifests of one program in one environment, its init container and its start script agree on. */

export const serviceVariable = {
  /** Name of the program in its repository. */
  proc: 'PROC',
  /** Directory of the checkout below /tmp. */
  gitDirectory: 'GIT_DIR',
  /** One of RUN_ENVIRONMENTS. */
  environment: 'RUNENV',
  gitProject: 'GIT_PROJECT',
  gitRevision: 'GIT_REVISION',
  /** Directory of the mounted Secret. */
  gitCredentials: 'GIT_CREDENTIALS',
  /** The one protocol that the project's URL needs. */
  gitProtocols: 'GIT_PROTOCOLS',
} as const;

export const servicePath = {
  /** Checkouts appear below it. */
  checkouts: '/tmp',
  bin: '/data/bin',
  etc: '/data/etc',
  logs: '/data/log',
} as const;

/** PROC and GIT_DIR are one path segment each, and no option of any program. */
export const SERVICE_FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** A branch or a tag can move, an abbreviation can become ambiguous. */
export const FULL_REVISION = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
