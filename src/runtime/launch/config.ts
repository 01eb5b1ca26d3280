/**
 * The config file of a container: config.yaml, else config.json, in /var/lib/kolla/config_files. Parsed at this edge;
 * everything behind it trusts the types. Checked by hand and not by a schema library: this runs at every container's
 * start, where loading one costs more than all the copying.
 */
import { readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { nearest } from 'cdk8s-baremetal-contract/errors';
import { launchErrors } from './errors.ts';
import { parseMode } from './file-mode.ts';
import { isGlob } from './glob.ts';
import { joinShellWords, splitShellWords } from './shell-words.ts';

export const CONFIG_DIRECTORY = '/var/lib/kolla/config_files';

export interface LaunchConfig {
  readonly command: Command;
  readonly configFiles: readonly ConfigFile[];
  readonly directories: readonly OwnedPath[];
  readonly files: readonly OwnedPath[];
  readonly permissions: readonly Permission[];
}

export interface Command {
  /** What /run_command holds and the start line shows. */
  readonly text: string;
  readonly argv: readonly string[];
}

export interface ConfigFile {
  /** Absolute, may be a glob. */
  readonly source: string;
  /** Absolute and normalised; a trailing "/" is kept and means "into". */
  readonly dest: string;
  /** Absent with preserveProperties: owner, mode and times are the source's. */
  readonly ownership: { readonly owner: string; readonly mode: number } | undefined;
  readonly optional: boolean;
  readonly merge: boolean;
  readonly preserveProperties: boolean;
}

export interface OwnedPath {
  readonly path: string;
  readonly owner: string;
  readonly mode: number;
}

export interface Permission {
  /** Absolute, may be a glob. */
  readonly path: string;
  readonly owner: string;
  readonly mode: number | undefined;
  readonly recurse: boolean;
  /** A path that any of them finds a match in is left alone. */
  readonly exclude: readonly RegExp[];
}

/** Turns text into plain data, or throws an error whose message says where. */
export type TextParser = (text: string) => unknown;

/** Reads the config of the container at `root`. `yaml` is asked only when there is a config.yaml. */
export function loadConfig(root: string, yaml: TextParser): LaunchConfig {
  const candidates: readonly (readonly [string, TextParser])[] = [
    [`${CONFIG_DIRECTORY}/config.yaml`, yaml],
    [`${CONFIG_DIRECTORY}/config.json`, JSON.parse],
  ];
  for (const [path, parse] of candidates) {
    let text: string;
    try {
      text = readFileSync(root + path, 'utf8');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') continue;
      throw launchErrors.LAUNCH_CONFIG_UNREADABLE({ path, reason: code ?? message });
    }
    return parseConfig(path, text, parse);
  }
  throw launchErrors.LAUNCH_CONFIG_MISSING({ directory: CONFIG_DIRECTORY });
}

/** `path` is only for messages. */
export function parseConfig(path: string, text: string, parse: TextParser): LaunchConfig {
  let data: unknown;
  try {
    data = parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    throw launchErrors.LAUNCH_CONFIG_SYNTAX({ path, reason: (error as Error).message.split('\n')[0] ?? '' });
  }
  const top = new Section(path, '', data, ['command', 'config_files', 'directories', 'files', 'permissions']);
  return {
    command: readCommand(top),
    configFiles: top.list('config_files', CONFIG_FILE_KEYS, readConfigFile),
    directories: top.list('directories', OWNED_KEYS, readOwnedPath),
    files: top.list('files', OWNED_KEYS, readOwnedPath),
    permissions: top.list('permissions', PERMISSION_KEYS, readPermission),
  };
}

const CONFIG_FILE_KEYS = ['source', 'dest', 'owner', 'perm', 'optional', 'merge', 'preserve_properties'];
const OWNED_KEYS = ['path', 'owner', 'perm'];
const PERMISSION_KEYS = ['path', 'owner', 'perm', 'recurse', 'exclude'];

function readCommand(top: Section): Command {
  const given = top.required('command');
  if (Array.isArray(given)) {
    const argv = given.map((word: unknown, index) => {
      if (typeof word !== 'string') throw top.wrong(`command[${index}]`, word, 'a string');
      if (word.includes('\0')) throw top.wrong(`command[${index}]`, word, 'free of NUL');
      return word;
    });
    if (!argv[0]) throw top.wrong('command', given, 'a command with a program');
    return { text: joinShellWords(argv), argv };
  }
  if (typeof given !== 'string') throw top.wrong('command', given, 'a string or a list of strings');
  if (given.includes('\0')) throw top.wrong('command', given, 'free of NUL');
  const argv = splitShellWords(given);
  if (!argv) throw top.wrong('command', given, 'closed: a quote or a backslash is open at its end');
  if (!argv[0]) throw top.wrong('command', given, 'a command with a program');
  return { text: given, argv };
}

function readConfigFile(section: Section): ConfigFile {
  const preserveProperties = section.boolean('preserve_properties');
  if (!preserveProperties) {
    for (const key of ['owner', 'perm']) section.required(key, 'needed unless preserve_properties is true');
  }
  return {
    source: section.absolutePath('source'),
    dest: section.absolutePath('dest'),
    ownership: preserveProperties ? undefined : { owner: section.owner(), mode: section.mode('perm') },
    optional: section.boolean('optional'),
    merge: section.boolean('merge'),
    preserveProperties,
  };
}

function readOwnedPath(section: Section): OwnedPath {
  const path = section.absolutePath('path');
  if (isGlob(path)) throw section.wrong('path', path, 'a plain path: no patterns here');
  return { path: path.replace(/(?<=.)\/$/, ''), owner: section.owner(), mode: section.mode('perm') };
}

function readPermission(section: Section): Permission {
  return {
    path: section.absolutePath('path'),
    owner: section.owner(),
    mode: section.has('perm') ? section.mode('perm') : undefined,
    recurse: section.boolean('recurse'),
    exclude: section.patterns('exclude'),
  };
}

/** One mapping of the file, and where it is. */
class Section {
  private readonly values: ReadonlyMap<string, unknown>;

  constructor(
    private readonly file: string,
    private readonly place: string,
    data: unknown,
    known: readonly string[],
  ) {
    if (typeof data !== 'object' || data === null || Array.isArray(data))
      throw launchErrors.LAUNCH_CONFIG_VALUE({ path: file, at: place || 'the file', value: show(data), expected: 'a mapping' });
    this.values = new Map(Object.entries(data));
    for (const key of this.values.keys()) {
      if (known.includes(key)) continue;
      throw launchErrors.LAUNCH_CONFIG_KEY({ path: file, at: this.where(), key, nearest: nearest(key, known), known });
    }
  }

  /** null counts as absent, except where a value is required: there it is an error of its own. */
  has(key: string): boolean {
    const value = this.values.get(key);
    return value !== undefined && value !== null;
  }

  required(key: string, why?: string): unknown {
    if (!this.values.has(key)) throw launchErrors.LAUNCH_CONFIG_REQUIRED({ path: this.file, at: this.where(), key, ...(why && { why }) });
    const value = this.values.get(key);
    if (value === null) throw this.wrong(key, value, 'a value');
    return value;
  }

  list<T>(key: string, known: readonly string[], read: (section: Section) => T): T[] {
    if (!this.has(key)) return [];
    const value = this.values.get(key);
    if (!Array.isArray(value)) throw this.wrong(key, value, 'a list');
    return value.map((item: unknown, index) => read(new Section(this.file, `${key}[${index}]`, item, known)));
  }

  text(key: string): string {
    const value = this.required(key);
    if (typeof value !== 'string' || value === '') throw this.wrong(key, value, 'a non-empty string');
    if (value.includes('\0')) throw this.wrong(key, value, 'free of NUL');
    return value;
  }

  boolean(key: string): boolean {
    const value = this.values.get(key) ?? false;
    if (typeof value !== 'boolean') throw this.wrong(key, value, 'true or false');
    return value;
  }

  absolutePath(key: string): string {
    const value = this.text(key);
    if (!value.startsWith('/')) throw this.wrong(key, value, 'an absolute path');
    return posix.normalize(value).replace(/^\/+/, '/');
  }

  owner(): string {
    const value = this.text('owner');
    if (!/^[^:\s]+(?::[^:\s]*)?$/.test(value)) throw this.wrong('owner', value, '"user" or "user:group"');
    return value;
  }

  mode(key: string): number {
    const value = this.required(key);
    const mode = typeof value === 'string' ? parseMode(value) : undefined;
    // YAML reads 0644 as the number 644: the quotes are part of the answer
    if (mode === undefined) throw this.wrong(key, value, 'three or four octal digits in quotes, such as "0644"');
    return mode;
  }

  patterns(key: string): RegExp[] {
    if (!this.has(key)) return [];
    const value = this.values.get(key);
    if (!Array.isArray(value)) throw this.wrong(key, value, 'a list of regular expressions');
    return value.map((item: unknown, index) => {
      const at = `${key}[${index}]`;
      if (typeof item !== 'string') throw this.wrong(at, item, 'a regular expression');
      try {
        return new RegExp(item);
      } catch (error) {
        throw this.wrong(at, item, `a regular expression (${(error as Error).message})`);
      }
    });
  }

  wrong(key: string, value: unknown, expected: string): Error {
    const at = this.place ? `${this.place}.${key}` : key;
    return launchErrors.LAUNCH_CONFIG_VALUE({ path: this.file, at, value: show(value), expected });
  }

  private where(): string {
    return this.place ? `in ${this.place}` : 'at the top';
  }
}

function show(value: unknown): string {
  const text = value === undefined ? 'empty' : JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
