/** From a file's text and the environment to typed values, or every problem at once. */
import { type CodedError, nearest } from '../errors.ts';
import { configErrors, configInvalid, placeOf, quoted } from './errors.ts';
import { type IniAssignment, parseIni } from './ini.ts';
import { type ConfigDefinition, envName, normalSection, type Option, type Sections } from './options.ts';
import { substitute } from './substitution.ts';
import { pythonFloat } from './value-types.ts';

export interface ReadOptions {
  /** The file's name for messages. */
  readonly file?: string;
  /**
   * Overrides the file. Taken literally: no `$` substitution and no quotes, since a password from a Kubernetes Secret
   * arrives as it is. A repeatable option takes one value per line. Set but empty counts as set.
   */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Default true. False, oslo.config's habit: unknown names become warnings, the last of repeated lines wins in silence. */
  readonly strict?: boolean;
}

export type ReadResult<V> =
  | { readonly ok: true; readonly values: V; readonly warnings: readonly string[] }
  | { readonly ok: false; readonly problems: readonly CodedError[]; readonly warnings: readonly string[] };

type AnyValues = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

export function parseConfig<S extends Sections>(config: ConfigDefinition<S>, text: string, options: ReadOptions = {}): AnyValues {
  const result = readConfig(config, text, options);
  if (result.ok) return result.values;
  throw configInvalid(`the configuration of ${config.daemon}${options.file === undefined ? '' : ` in ${options.file}`}`, result.problems);
}

export function readConfig<S extends Sections>(
  config: ConfigDefinition<S>,
  text: string,
  options: ReadOptions = {},
): ReadResult<AnyValues> {
  const { file, env = {}, strict = true } = options;
  const document = parseIni(text, file);
  const problems = [...document.problems];
  const warnings: string[] = [];
  const unknown = (problem: CodedError) => (strict ? problems.push(problem) : warnings.push(problem.toString()));

  const names = namesOf(config.sections);
  for (const header of document.headers) {
    if (names.sections.has(normalSection(header.name))) continue;
    const known = Object.keys(config.sections);
    const where = placeOf({ file, line: header.line, section: header.name });
    unknown(configErrors.CONFIG_UNKNOWN_SECTION({ where, nearest: nearestSection(header.name, known), known }));
  }

  const found = new Map<Option<unknown>, Found>();
  for (const assignment of document.assignments) {
    const section = names.sections.get(normalSection(assignment.section));
    const target = names.keys.get(nameOf(assignment.section, assignment.key));
    if (target === undefined) {
      // A section that is unknown has been reported by its header.
      if (section !== undefined) unknown(unknownKey(config.sections, section, assignment, file));
      continue;
    }
    const place = { file, line: assignment.line, section: assignment.section, key: assignment.key };
    if (target.rank > 0)
      warnings.push(`${placeOf(place)}: write ${target.key} in [${target.section}], of which this is an old or other name`);
    const entry = found.get(target.option) ?? { target, byRank: new Map<number, IniAssignment[]>() };
    found.set(target.option, entry);
    entry.byRank.set(target.rank, [...(entry.byRank.get(target.rank) ?? []), assignment]);
  }

  for (const { target, byRank } of strict ? found.values() : []) {
    for (const lines of target.option.type.repeated ? [] : byRank.values()) {
      const last = lines.at(-1);
      if (last === undefined || lines.length < 2) continue;
      const where = placeOf({ file, section: last.section, key: last.key });
      problems.push(configErrors.CONFIG_REPEATED_KEY({ where, lines: lines.map(({ line }) => line) }));
    }
  }

  const envNames = new Map<string, string>();
  for (const [section, table] of Object.entries(config.sections)) {
    for (const key of Object.keys(table)) envNames.set(envName(config, section, key), key);
  }
  for (const name of Object.keys(env)) {
    // The double underscore tells our names from those that Kubernetes makes for Services, such as BMS_CORE_PORT.
    if (envNames.has(name) || env[name] === undefined) continue;
    if (!name.startsWith(`${config.envPrefix}_`) || !name.slice(config.envPrefix.length + 1).includes('__')) continue;
    unknown(configErrors.CONFIG_UNKNOWN_ENV({ name, nearest: nearest(name, envNames.keys()) }));
  }

  const resolver = new Resolver(config, found, env, file, problems);
  const values: Record<string, Record<string, unknown>> = {};
  for (const [section, table] of Object.entries(config.sections)) {
    values[section] = Object.fromEntries(Object.keys(table).map((key) => [key, resolver.value(section, key)]));
  }
  return problems.length > 0 ? { ok: false, problems, warnings } : { ok: true, values, warnings };
}

interface Target {
  readonly option: Option<unknown>;
  readonly section: string;
  readonly key: string;
  /** 0 for the name itself, then the deprecated ones in their order. */
  readonly rank: number;
}

interface Found {
  readonly target: Target;
  readonly byRank: ReadonlyMap<number, IniAssignment[]> & Map<number, IniAssignment[]>;
}

/** Thrown through `substitute` when a reference cannot be resolved; never leaves this file. */
class Unresolved extends Error {
  constructor(
    readonly reference: string,
    /** Undefined when the referenced option is wrong itself and has its own problem. */
    readonly reason?: string,
  ) {
    super(reference);
  }
}

/** Works out each option once, on demand, since values refer to one another. */
class Resolver {
  readonly #done = new Map<Option<unknown>, { value: unknown; failed: boolean }>();
  readonly #running = new Set<Option<unknown>>();
  readonly #config: ConfigDefinition<Sections>;
  readonly #found: ReadonlyMap<Option<unknown>, Found>;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #file: string | undefined;
  readonly #problems: CodedError[];

  constructor(
    config: ConfigDefinition<Sections>,
    found: ReadonlyMap<Option<unknown>, Found>,
    env: Readonly<Record<string, string | undefined>>,
    file: string | undefined,
    problems: CodedError[],
  ) {
    this.#config = config;
    this.#found = found;
    this.#env = env;
    this.#file = file;
    this.#problems = problems;
  }

  /** The typed value; undefined when there is none or it is wrong (then a problem has been added). */
  value(section: string, key: string): unknown {
    return this.#resolve(section, key).value;
  }

  #resolve(section: string, key: string): { value: unknown; failed: boolean } {
    const option = this.#config.sections[section]?.[key];
    if (option === undefined) return { value: undefined, failed: true };
    const known = this.#done.get(option);
    if (known !== undefined) return known;
    this.#running.add(option);
    const value = this.#compute(section, key, option);
    const outcome = value === FAILED ? { value: undefined, failed: true } : { value, failed: false };
    this.#running.delete(option);
    this.#done.set(option, outcome);
    return outcome;
  }

  #compute(section: string, key: string, option: Option<unknown>): unknown {
    const name = envName(this.#config, section, key);
    const fromEnv = this.#env[name];
    if (fromEnv !== undefined) {
      const texts = option.type.repeated ? fromEnv.split('\n') : [fromEnv];
      return this.#decode(option, texts, `environment variable ${name}, ${placeOf({ section, key })}`);
    }
    const lines = linesOf(option, this.#found.get(option));
    const last = lines.at(-1);
    if (last !== undefined) {
      const where = placeOf({ file: this.#file, line: last.line, section, key });
      return this.#substituted(
        section,
        option,
        lines.map(({ value }) => value),
        where,
      );
    }
    if (option.default !== undefined) return option.default;
    if (option.defaultFrom !== undefined) {
      return this.#substituted(section, option, [option.defaultFrom], `default of ${placeOf({ section, key })}`);
    }
    if (option.required) {
      this.#problems.push(
        configErrors.CONFIG_REQUIRED({ where: placeOf({ file: this.#file, section, key }), env: name, help: option.help }),
      );
    }
    return undefined;
  }

  #substituted(section: string, option: Option<unknown>, texts: readonly string[], where: string): unknown {
    try {
      return this.#decode(
        option,
        texts.map((text) => substitute(text, (reference) => this.#lookup(section, reference))),
        where,
      );
    } catch (error) {
      if (!(error instanceof Unresolved)) throw error;
      const { reference, reason } = error;
      if (reason !== undefined) this.#problems.push(configErrors.CONFIG_SUBSTITUTION({ where, reference, reason }));
      return FAILED;
    }
  }

  /** `$key` in the own section, then in DEFAULT; `$section.key`. */
  #lookup(section: string, reference: string): string {
    const dot = reference.indexOf('.');
    const candidates =
      dot < 0
        ? [
            [section, reference],
            ['DEFAULT', reference],
          ]
        : [[reference.slice(0, dot), reference.slice(dot + 1)]];
    const [inSection, key] = candidates.find(([each = '', name = '']) => optionOf(this.#config.sections, each, name) !== undefined) ?? [];
    const option = optionOf(this.#config.sections, inSection ?? '', key ?? '');
    if (inSection === undefined || key === undefined || option === undefined) throw new Unresolved(reference, 'names no option');
    if (option.type.secret) throw new Unresolved(reference, 'names a secret option, whose value must not spread');
    if (this.#running.has(option)) throw new Unresolved(reference, 'leads back to itself');
    const { value, failed } = this.#resolve(inSection, key);
    if (failed) throw new Unresolved(reference);
    const text = pythonText(value, option);
    if (text === undefined) throw new Unresolved(reference, 'names a list, which has no text of its own');
    return text;
  }

  #decode(option: Option<unknown>, texts: readonly string[], where: string): unknown {
    const outcome = option.type.decode(texts);
    if (outcome.ok) return outcome.value;
    const value = option.type.secret ? '***' : texts.map(quoted).join(', ');
    this.#problems.push(configErrors.CONFIG_VALUE({ where, value, reason: outcome.reason, expected: option.type.name }));
    return FAILED;
  }
}

const FAILED = Symbol('failed');

/** The lines that count: of one-value options the last of the best name; of repeatable ones all, deprecated names first. */
function linesOf(option: Option<unknown>, found: Found | undefined): readonly IniAssignment[] {
  if (found === undefined) return [];
  const ranks = [...found.byRank.keys()].sort((a, b) => a - b);
  if (option.type.repeated) return ranks.reverse().flatMap((rank) => found.byRank.get(rank) ?? []);
  return found.byRank.get(ranks[0] ?? 0)?.slice(-1) ?? [];
}

/** What Python's str() makes of the value, since that is what oslo.config puts in place of a reference. */
function pythonText(value: unknown, option: Option<unknown>): string | undefined {
  if (value === undefined) return '';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number') return option.type.name.startsWith('number') ? pythonFloat(value) : String(value);
  return typeof value === 'string' ? value : undefined;
}

function optionOf(sections: Sections, section: string, key: string): Option<unknown> | undefined {
  const table = Object.hasOwn(sections, section) ? sections[section] : undefined;
  return table !== undefined && Object.hasOwn(table, key) ? table[key] : undefined;
}

function nameOf(section: string, key: string): string {
  return `${normalSection(section)}\n${key}`;
}

/** All names that a file may use, and what they stand for. */
function namesOf(sections: Sections): { sections: ReadonlyMap<string, string>; keys: ReadonlyMap<string, Target> } {
  const known = new Map<string, string>();
  const keys = new Map<string, Target>();
  for (const [section, table] of Object.entries(sections)) {
    known.set(normalSection(section), section);
    for (const [key, option] of Object.entries(table)) {
      const names = [key, ...(option.deprecatedNames ?? [])].map((name) => (typeof name === 'string' ? { section, key: name } : name));
      for (const [rank, name] of names.entries()) {
        if (!known.has(normalSection(name.section))) known.set(normalSection(name.section), name.section);
        keys.set(nameOf(name.section, name.key), { option, section, key, rank });
      }
    }
  }
  return { sections: known, keys };
}

function unknownKey(sections: Sections, section: string, assignment: IniAssignment, file: string | undefined): CodedError {
  const { line, key } = assignment;
  const known = Object.keys(sections[section] ?? {});
  const elsewhere = Object.keys(sections).find((other) => other !== section && optionOf(sections, other, key) !== undefined);
  const where = placeOf({ file, line, section: assignment.section, key });
  return configErrors.CONFIG_UNKNOWN_KEY({ where, nearest: nearest(key, known), elsewhere, known });
}

/** `[default]` is a section of its own to oslo.config, though it hardly ever is to the writer. */
function nearestSection(name: string, known: readonly string[]): string | undefined {
  return nearest(name.trim(), known);
}
