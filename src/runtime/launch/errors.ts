/** What can go wrong between a config directory and a running service, for whoever reads the container's log. */
import { defineErrors, entry } from 'cdk8s-baremetal-contract/errors';

const hint = (nearest: string | undefined): string => (nearest === undefined ? '' : ` (did you mean "${nearest}"?)`);

export const launchErrors = defineErrors('LAUNCH', {
  LAUNCH_CONFIG_MISSING: entry<{ directory: string }>({
    message: ({ directory }) => `there is neither config.yaml nor config.json in ${directory}`,
    cure: 'Mount the directory that holds the config file there, read-only',
  }),
  LAUNCH_CONFIG_UNREADABLE: entry<{ path: string; reason: string }>({
    message: ({ path, reason }) => `${path} cannot be read: ${reason}`,
    cure: 'Make the file readable to the user that runs kolla_set_configs',
  }),
  LAUNCH_CONFIG_SYNTAX: entry<{ path: string; reason: string }>({
    message: ({ path, reason }) => `${path} does not parse: ${reason}`,
    cure: 'Correct the file; a .yaml file is read as YAML 1.2, a .json file as JSON',
  }),
  LAUNCH_CONFIG_KEY: entry<{ path: string; at: string; key: string; nearest: string | undefined; known: readonly string[] }>({
    message: ({ path, at, key, nearest }) => `${path}: unknown key "${key}" ${at}${hint(nearest)}`,
    cure: ({ known }) => `Use one of ${known.join(', ')}`,
  }),
  LAUNCH_CONFIG_REQUIRED: entry<{ path: string; at: string; key: string; why?: string }>({
    message: ({ path, at, key, why }) => `${path}: "${key}" is missing ${at}${why ? ` (${why})` : ''}`,
    cure: ({ key }) => `Add "${key}"`,
  }),
  LAUNCH_CONFIG_VALUE: entry<{ path: string; at: string; value: string; expected: string }>({
    message: ({ path, at, value, expected }) => `${path}: ${at} is ${value}, not ${expected}`,
    cure: 'Correct the value',
  }),
  LAUNCH_STRATEGY: entry<{ value: string | undefined }>({
    message: ({ value }) => `KOLLA_CONFIG_STRATEGY is ${value === undefined ? 'not set' : `"${value}"`}`,
    cure: 'Set it to COPY_ALWAYS or COPY_ONCE',
  }),
  LAUNCH_CONFIGURED_ONCE: entry<{ marker: string }>({
    message: ({ marker }) => `KOLLA_CONFIG_STRATEGY is COPY_ONCE and ${marker} exists: the files are kept as they are`,
    cure: 'Recreate the container to configure it anew',
  }),
  LAUNCH_SOURCE_MISSING: entry<{ source: string; dest: string }>({
    message: ({ source, dest }) => `nothing matches the source ${source} of ${dest}`,
    cure: 'Put the file into the config directory, or mark the entry "optional": true',
  }),
  LAUNCH_SOURCE_KIND: entry<{ source: string; kind: string }>({
    message: ({ source, kind }) => `the source ${source} is ${kind}; only files and directories are copied`,
    cure: 'Remove it from the config directory',
  }),
  LAUNCH_OWNER_UNKNOWN: entry<{ what: 'user' | 'group'; name: string; file: string; nearest: string | undefined }>({
    message: ({ what, name, file, nearest }) => `the ${what} "${name}" is not in ${file}${hint(nearest)}`,
    cure: 'Name an account of this image, or give numbers (uid:gid)',
  }),
  LAUNCH_DEST_MOUNT: entry<{ dest: string }>({
    message: ({ dest }) => `${dest} is a mount point and cannot be replaced`,
    cure: 'Mount its parent directory in its place, or set "merge": true for a directory',
  }),
  LAUNCH_WRITE: entry<{ path: string; reason: string }>({
    message: ({ path, reason }) => `cannot write ${path}: ${reason}; no configuration file was replaced`,
    cure: 'Make the destination writable (a volume of its own when the root file system is read-only) and give it room',
  }),
  LAUNCH_COMMIT: entry<{ path: string; reason: string; done: number; of: number }>({
    message: ({ path, reason, done, of }) =>
      `cannot put ${path} in place: ${reason}; ${done} of ${of} destinations are new, each of them whole`,
    cure: 'Remove the cause and start again: the next start completes the rest',
  }),
  LAUNCH_PERMISSION: entry<{ path: string; action: string; reason: string }>({
    message: ({ path, action, reason }) => `cannot ${action} ${path}: ${reason}`,
    cure: 'Run as root, or set KOLLA_PERMISSION_ERRORS=warn to go on as kolla does',
  }),
  LAUNCH_PATH_KIND: entry<{ path: string; is: string; wanted: string }>({
    message: ({ path, is, wanted }) => `${path} is ${is}, not ${wanted}`,
    cure: 'Remove it, or name another path',
  }),
  LAUNCH_STATE_SYNTAX: entry<{ path: string; reason: string }>({
    message: ({ path, reason }) => `the record of image defaults ${path} cannot be used: ${reason}`,
    cure: 'Recreate the container: its image holds the defaults',
  }),
  LAUNCH_ENVIRONMENT: entry<{ name: string; value: string; expected: string }>({
    message: ({ name, value, expected }) => `${name} is "${value}", not ${expected}`,
    cure: 'Correct the variable',
  }),
  LAUNCH_SUDO_ENVIRONMENT: entry<{ name: string }>({
    message: ({ name }) => `${name} is refused through sudo: a user of the container must not choose where root writes`,
    cure: 'Unset it, or run kolla_set_configs as root without sudo',
  }),
  LAUNCH_CHANGED_COMMAND: entry<{ file: string }>({
    message: ({ file }) => `the command differs from ${file}`,
    cure: 'Restart the container to apply it',
  }),
  LAUNCH_CHANGED_STATE: entry<{ dests: readonly string[] }>({
    message: ({ dests }) => `the config no longer names ${dests.join(', ')}`,
    cure: 'Restart the container: the defaults of the image come back',
  }),
  LAUNCH_CHANGED_FILES: entry<{ files: readonly string[] }>({
    message: ({ files }) => `not as the config wants: ${files.join('; ')}`,
    cure: 'Restart the container to apply it',
  }),
  LAUNCH_USAGE: entry<{ given: string; usage: string }>({
    message: ({ given }) => `the argument "${given}" is not known`,
    cure: ({ usage }) => `Use ${usage}`,
  }),

  LAUNCH_COMMAND_MISSING: entry<{ file: string }>({
    message: ({ file }) => `there is no command to run: ${file} is missing`,
    cure: 'Run kolla_set_configs first, or share the volume that it wrote to (KOLLA_RUN_DIR)',
  }),
  LAUNCH_COMMAND_NOT_FOUND: entry<{ command: string }>({
    message: ({ command }) => `the command "${command}" is not in PATH`,
    cure: 'Correct "command" in the config file, or install the program in the image',
  }),
  LAUNCH_COMMAND_NOT_EXECUTABLE: entry<{ command: string }>({
    message: ({ command }) => `"${command}" is not an executable file`,
    cure: 'Set its execute bit in the image',
  }),

  LAUNCH_RUNENV: entry<{ value: string; known: string; nearest: string | undefined }>({
    message: ({ value, nearest }) => `RUNENV is "${value}", which is no environment${hint(nearest)}`,
    cure: ({ known }) => `Set RUNENV to one of ${known}`,
  }),
  LAUNCH_NAME: entry<{ name: string; value: string }>({
    message: ({ name, value }) => `${name} is "${value}", not a plain file name`,
    cure: 'Use letters, digits, ".", "_" and "-", starting with a letter or digit',
  }),
  LAUNCH_SERVICE_FILE: entry<{ path: string; reason: string }>({
    message: ({ path, reason }) => `${path} ${reason}`,
    cure: 'Check GIT_DIR, PROC, RUNENV and the revision that was checked out',
  }),

  LAUNCH_GIT_REVISION: entry<{ value: string }>({
    message: ({ value }) => `the revision "${value}" is not a full commit id`,
    cure: 'Give all 40 (or 64) hexadecimal digits: a branch or tag can move; `git ls-remote <project> <name>` prints what it means today',
  }),
  LAUNCH_GIT_URL: entry<{ reason: string }>({
    message: ({ reason }) => `the project's URL is refused: ${reason}`,
    cure: 'Use https://host/path or ssh://user@host/path, and keep credentials in a Secret',
  }),
  LAUNCH_GIT_CREDENTIALS: entry<{ directory: string; reason: string }>({
    message: ({ directory, reason }) => `the credentials in ${directory} cannot be used: ${reason}`,
    cure: 'Mount a Secret with username and password, or with ssh-privatekey and known_hosts',
  }),
  LAUNCH_GIT_FAILED: entry<{ step: string; exit: string; detail: string }>({
    message: ({ step, exit, detail }) => `git ${step} failed (${exit})${detail ? `: ${detail}` : ''}`,
    cure: 'Check that the project is reachable from here and the credentials may read it',
  }),
  LAUNCH_GIT_PROGRAM: entry<{ reason: string }>({
    message: ({ reason }) => `the git program cannot be started: ${reason}`,
    cure: 'Install git in the image of the init container',
  }),
  LAUNCH_GIT_NO_REVISION: entry<{ project: string; revision: string }>({
    message: ({ project, revision }) => `${project} has no commit ${revision} that a branch or tag reaches`,
    cure: 'Push the commit, or correct the revision',
  }),
  LAUNCH_GIT_DEADLINE: entry<{ project: string; seconds: number }>({
    message: ({ project, seconds }) => `${project} did not deliver the revision within ${seconds} s`,
    cure: 'Check the server and the network, or raise GIT_DEADLINE',
  }),
  LAUNCH_GIT_HEAD: entry<{ revision: string; head: string }>({
    message: ({ revision, head }) => `the checkout is at ${head}, not at ${revision}`,
    cure: 'Report this: the server sent another object than the one asked for',
  }),
  LAUNCH_GIT_TREE: entry<{ path: string; target: string }>({
    message: ({ path, target }) => `the revision holds a symbolic link that leaves the checkout: ${path} -> ${target}`,
    cure: 'Remove the link from the repository',
  }),
});

/** kolla's exit codes: 0 nothing to do, 1 the config or what it names is wrong (or changed, for --check), 2 anything else. */
const EXIT_CODES: Readonly<Record<string, number>> = {
  LAUNCH_CONFIGURED_ONCE: 0,
  LAUNCH_WRITE: 2,
  LAUNCH_COMMIT: 2,
  LAUNCH_PERMISSION: 2,
  LAUNCH_PATH_KIND: 2,
  LAUNCH_DEST_MOUNT: 2,
  LAUNCH_SOURCE_KIND: 2,
  LAUNCH_STATE_SYNTAX: 2,
  LAUNCH_CONFIG_MISSING: 2,
  LAUNCH_CONFIG_UNREADABLE: 2,
  LAUNCH_USAGE: 2,
  LAUNCH_COMMAND_MISSING: 1,
  LAUNCH_COMMAND_NOT_EXECUTABLE: 126,
  LAUNCH_COMMAND_NOT_FOUND: 127,
  LAUNCH_RUNENV: 64, // EX_USAGE of sysexits.h
  LAUNCH_NAME: 64,
  LAUNCH_SERVICE_FILE: 66, // EX_NOINPUT
  LAUNCH_GIT_REVISION: 64,
  LAUNCH_GIT_URL: 64,
};

/** The exit code that ends the program for an error of this code; 1 when the table says nothing else. */
export function exitCodeOf(code: string): number {
  return EXIT_CODES[code] ?? 1;
}
