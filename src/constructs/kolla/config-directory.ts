/**
 * What a service finds at /var/lib/kolla/config_files: its config.json, its files, and files out of Secrets. And, for pods whose
 * configuration an init container places, which directories the two containers must share.
 */
import { type CodedError, nearest } from 'cdk8s-baremetal-contract';
import { KOLLA_CONFIG_FILE_NAME, type KollaConfig, kollaPath } from 'cdk8s-baremetal-contract/launch/index';
import type { k8s } from 'cdk8s-plus-28';
import { kollaErrors } from './errors.ts';

/** A key of a Secret that is in the cluster. */
export interface SecretReference {
  readonly secret: string;
  readonly key: string;
}

/** Text that may be seen by whoever sees dist/, or a reference to what may not. */
export type KollaFile = string | SecretReference;

export type KollaFiles = Readonly<Record<string, KollaFile>>;

/** Directories that hold more than one service's files: no volume may hide the image's. */
const TOO_WIDE = [
  '/',
  '/bin',
  '/boot',
  '/dev',
  '/etc',
  '/home',
  '/lib',
  '/lib64',
  '/opt',
  '/proc',
  '/root',
  '/run',
  '/sbin',
  '/srv',
  '/sys',
  '/tmp',
  '/usr',
  '/usr/bin',
  '/usr/lib',
  '/usr/local',
  '/usr/local/bin',
  '/usr/local/lib',
  '/usr/sbin',
  '/usr/share',
  '/var',
  '/var/lib',
  '/var/log',
  '/var/run',
];
const FILE_NAME = /^[-._a-zA-Z0-9]{1,253}$/;
const SECRET_LINE = /^\s*[\w.-]*(?:password|passwd|passphrase|secret|token|private_?key)\s*[:=]\s*(?!\s*$)(?!["']{2}\s*$)(?!\$\{)\S/im;
const SECRET_NAME = /(?:password|passwd|passphrase|secret|token|private_?key)$/i;
const URL_WITH_PASSWORD = /[a-z][a-z0-9+.-]*:\/\/[^/@:\s]*:[^/@\s]+@/i;

/** Whether a named value, or a text with lines of them, gives a secret away. */
export function holdsSecret(text: string, name?: string): boolean {
  if (name !== undefined && SECRET_NAME.test(name) && text !== '') return true;
  return URL_WITH_PASSWORD.test(text) || (name === undefined && SECRET_LINE.test(text));
}

export function checkConfigDirectory(config: KollaConfig, files: KollaFiles, at: string): CodedError[] {
  const names = Object.keys(files);
  const directory = `${kollaPath.configFiles}/`;
  const wrong = (place: string, value: unknown, rule: string): CodedError =>
    kollaErrors.KOLLA_VALUE({ at: place, value: JSON.stringify(value) ?? 'absent', rule });
  const problems: CodedError[] = [];
  if (config.command.length === 0 || (typeof config.command === 'string' && config.command.trim() === ''))
    problems.push(wrong(`${at}.config.command`, config.command, 'must name a program'));
  for (const [name, file] of Object.entries(files)) {
    const place = `${at}.files["${name}"]`;
    if (name === KOLLA_CONFIG_FILE_NAME || name === 'config.yaml') problems.push(wrong(place, name, 'is written from config'));
    else if (!FILE_NAME.test(name) || name.startsWith('..'))
      problems.push(wrong(place, name, 'must be a plain file name of letters, digits, ".", "_" and "-"'));
    if (typeof file === 'string' && holdsSecret(file)) problems.push(kollaErrors.KOLLA_SECRET_AS_VALUE({ at: place }));
  }
  for (const [index, { source, dest, owner, perm, optional, preserve_properties }] of (config.config_files ?? []).entries()) {
    const place = `${at}.config.config_files[${index}]`;
    if (!isAbsolute(source)) problems.push(wrong(`${place}.source`, source, 'must be an absolute path'));
    if (!isAbsolute(dest)) problems.push(wrong(`${place}.dest`, dest, 'must be an absolute path'));
    if (preserve_properties !== true && (owner === undefined || perm === undefined))
      problems.push(kollaErrors.KOLLA_KEY_MISSING({ at: place, key: owner === undefined ? 'owner' : 'perm' }));
    const name = source.startsWith(directory) ? source.slice(directory.length) : undefined;
    if (optional === true || name === undefined || /[*?[]/.test(name) || names.includes(name)) continue;
    const near = nearest(name, names);
    problems.push(kollaErrors.KOLLA_SOURCE_MISSING({ at: place, source, nearest: near }));
  }
  for (const list of ['directories', 'files', 'permissions'] as const)
    for (const [index, { path }] of (config[list] ?? []).entries())
      if (!isAbsolute(path)) problems.push(wrong(`${at}.config.${list}[${index}].path`, path, 'must be an absolute path'));
  return problems;
}

/** Content of the ConfigMap. */
export function configMapData(config: KollaConfig, files: KollaFiles): Record<string, string> {
  const texts = Object.entries(files).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return { [KOLLA_CONFIG_FILE_NAME]: `${JSON.stringify(config, undefined, 2)}\n`, ...Object.fromEntries(texts) };
}

/** ConfigMap and Secrets in one directory. Only root reads it: kolla_set_configs gives each file its owner. */
export function configVolume(name: string, configMap: string, files: KollaFiles): k8s.Volume {
  const sources: k8s.VolumeProjection[] = [{ configMap: { name: configMap } }];
  for (const [path, file] of Object.entries(files))
    if (typeof file !== 'string') sources.push({ secret: { name: file.secret, items: [{ key: file.key, path }] } });
  return { name, projected: { defaultMode: 0o400, sources } };
}

export interface SharedDirectories {
  /** Without their parents' slash; none lies inside another. */
  readonly directories: readonly string[];
  readonly problems: readonly CodedError[];
}

/**
 * The directories that config puts something into and that are on none of the service's own volumes: an emptyDir each.
 * @param writable - mount points of the service's volumes that can be written to
 */
export function sharedDirectories(config: KollaConfig, writable: readonly string[], at: string): SharedDirectories {
  const problems: CodedError[] = [];
  const wanted: string[] = [];
  const need = (place: string, path: string, directory: string): void => {
    if (writable.some((mount) => isWithin(directory, mount))) return;
    if (TOO_WIDE.includes(directory)) problems.push(kollaErrors.KOLLA_DEST_TOO_WIDE({ at: place, path, directory }));
    else wanted.push(directory);
  };
  const prefix = `${at}.config`;
  for (const [index, { dest }] of (config.config_files ?? []).entries())
    need(`${prefix}.config_files[${index}].dest`, dest, dest.endsWith('/') ? trimmed(dest) : parentOf(dest));
  for (const [index, { path }] of (config.directories ?? []).entries()) need(`${prefix}.directories[${index}].path`, path, trimmed(path));
  for (const [index, { path }] of (config.files ?? []).entries()) need(`${prefix}.files[${index}].path`, path, parentOf(path));
  const directories = [...new Set(wanted)].filter((one) => !wanted.some((other) => other !== one && isWithin(one, other))).sort();
  const shared = [...writable, ...directories];
  for (const [index, { path }] of (config.permissions ?? []).entries()) {
    const plain = path.replace(/\/[^/]*[*?[].*$/, '') || '/';
    if (!shared.some((mount) => isWithin(trimmed(plain), mount)))
      problems.push(kollaErrors.KOLLA_PATH_NOT_SHARED({ at: `${prefix}.permissions[${index}].path`, path }));
  }
  return { directories, problems };
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}

function isAbsolute(path: unknown): boolean {
  return typeof path === 'string' && path.startsWith('/') && !path.split('/').includes('..');
}

function trimmed(path: string): string {
  return path.replace(/(?<=.)\/+$/, '');
}

function parentOf(path: string): string {
  return trimmed(path).replace(/\/[^/]*$/, '') || '/';
}
