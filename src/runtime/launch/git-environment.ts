/**
 * The environment that git runs in: nothing of the machine's or the user's configuration, no hooks, no prompts, no
 * redirects, and credentials that reach git through a helper's pipe alone.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { launchErrors } from './errors.ts';
import { quoteShellWord } from './shell-words.ts';

export type GitProtocol = 'https' | 'ssh' | 'http' | 'file';

export interface GitProject {
  readonly url: string;
  readonly protocol: GitProtocol;
  /** Scheme, host and port: what credentials are bound to. */
  readonly origin: string;
}

const CONTROL_CHARACTERS = /\p{Cc}/u;

/** Checks a URL before git sees it. The error never repeats the URL: it may hold a password. */
export function parseProject(url: string, protocols: readonly GitProtocol[]): GitProject {
  const refuse = (reason: string): Error => launchErrors.LAUNCH_GIT_URL({ reason });
  if (CONTROL_CHARACTERS.test(url)) throw refuse('it holds a control character');
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw refuse('it is not a URL with a scheme');
  }
  const protocol = protocols.find((name) => `${name}:` === parsed.protocol);
  if (!protocol) throw refuse(`${parsed.protocol.slice(0, -1)} is not among the allowed protocols (${protocols.join(', ')})`);
  if (parsed.password !== '') throw refuse('it holds a password');
  if (parsed.username !== '' && protocol !== 'ssh') throw refuse('it holds a user name');
  if (parsed.search !== '' || parsed.hash !== '') throw refuse('it holds a query or a fragment');
  // ssh takes a host that starts with a dash for an option
  if (parsed.hostname.startsWith('-') || parsed.username.startsWith('-')) throw refuse('its host starts with a dash');
  if (protocol !== 'file' && parsed.hostname === '') throw refuse('it names no host');
  return { url, protocol, origin: `${parsed.protocol}//${parsed.host}` };
}

export interface GitEnvironmentOptions {
  readonly project: GitProject;
  /** A private, empty directory of ours. */
  readonly home: string;
  /** A mounted Secret: username and password, or ssh-privatekey and known_hosts. */
  readonly credentials: string | undefined;
  readonly path: string;
}

export function gitEnvironment({ project, home, credentials, path }: GitEnvironmentOptions): Record<string, string> {
  mkdirSync(home, { recursive: true, mode: 0o700 });
  const config: [string, string][] = [
    ['core.hooksPath', '/dev/null'],
    ['core.fsmonitor', 'false'],
    ['core.attributesFile', '/dev/null'],
    ['core.protectHFS', 'true'],
    ['core.protectNTFS', 'true'],
    ['init.templateDir', ''],
    ['init.defaultBranch', 'none'],
    ['protocol.allow', 'never'],
    [`protocol.${project.protocol}.allow`, 'always'],
    ['http.followRedirects', 'false'], // a redirect would carry the credentials' use to another host
    ['submodule.recurse', 'false'],
    ['fetch.recurseSubmodules', 'false'],
    ['transfer.fsckObjects', 'true'],
    ['advice.detachedHead', 'false'],
    ['gc.auto', '0'],
    ['maintenance.auto', 'false'],
    ['credential.helper', ''],
  ];
  const environment: Record<string, string> = {
    PATH: path,
    HOME: home,
    LC_ALL: 'C', // its messages decide on the fallback
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/false',
    SSH_ASKPASS: '/bin/false',
    GIT_ALLOW_PROTOCOL: project.protocol,
    GIT_LFS_SKIP_SMUDGE: '1',
    GIT_OPTIONAL_LOCKS: '0',
  };
  if (credentials !== undefined) addCredentials(environment, config, project, credentials, home);
  else if (project.protocol === 'ssh') environment.GIT_SSH_COMMAND = 'ssh -o BatchMode=yes -o StrictHostKeyChecking=yes';
  environment.GIT_CONFIG_COUNT = String(config.length);
  for (const [index, [key, value]] of config.entries()) {
    environment[`GIT_CONFIG_KEY_${index}`] = key;
    environment[`GIT_CONFIG_VALUE_${index}`] = value;
  }
  return environment;
}

function addCredentials(
  environment: Record<string, string>,
  config: [string, string][],
  project: GitProject,
  directory: string,
  home: string,
): void {
  const refuse = (reason: string): Error => launchErrors.LAUNCH_GIT_CREDENTIALS({ directory, reason });
  const need = (name: string): string => {
    const file = `${directory}/${name}`;
    if (!existsSync(file)) throw refuse(`${name} is missing`);
    return file;
  };
  if (project.protocol === 'http') throw refuse('http would send them in clear');
  if (project.protocol === 'https') {
    const user = quoteShellWord(need('username'));
    const password = quoteShellWord(need('password'));
    // printf is part of the shell: the password is in no process's arguments
    const print = `printf 'username=%s\\npassword=%s\\n' "$(cat ${user})" "$(cat ${password})"`;
    config.push([`credential.${project.origin}.helper`, `!f() { test "$1" != get || ${print}; }; f`]);
  }
  if (project.protocol === 'ssh') {
    const key = `${home}/key`;
    const hosts = need('known_hosts');
    copyKey(need('ssh-privatekey'), key, refuse);
    environment.GIT_SSH_COMMAND = [
      'ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes',
      `-o UserKnownHostsFile=${quoteShellWord(hosts)} -i ${quoteShellWord(key)}`,
    ].join(' ');
  }
}

/** ssh refuses a key that a group may read, which is how Kubernetes mounts Secrets for an fsGroup. */
function copyKey(from: string, to: string, refuse: (reason: string) => Error): void {
  try {
    writeFileSync(to, readFileSync(from), { mode: 0o600 });
  } catch (error) {
    throw refuse(`ssh-privatekey cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}
