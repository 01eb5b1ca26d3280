/**
 * One table of options per daemon, for both sides: the constructs `render` a file from it, the daemon `parse`s it, and
 * docs/reference is written from it. Values come from, first match wins: environment variable, file, default.
 */
import type { CodedError } from '../errors.ts';
import { configErrors } from './errors.ts';
import { type ConfigDefinition, envName, type InputOf, normalSection, type Sections, type ValuesOf } from './options.ts';
import { parseConfig, type ReadOptions, type ReadResult, readConfig } from './read.ts';
import { type RenderOptions, renderConfig } from './render.ts';

/** The typed values of a config: `type BmsCoreConfig = ConfigOf<typeof bmsCoreConfig>`. */
export type ConfigOf<C> = C extends Config<infer S> ? ValuesOf<S> : never;

/** What a config's `render` takes: `type BmsCoreInput = ConfigInput<typeof bmsCoreConfig>`. */
export type ConfigInput<C> = C extends Config<infer S> ? InputOf<S> : never;

export interface Config<S extends Sections = Sections> extends ConfigDefinition<S> {
  /**
   * The INI text: only what is given, sections and keys in the order of the definition.
   * @throws CONFIG_INVALID with all problems: unknown names, wrong values, and secrets unless `secrets: 'reveal'`.
   */
  render(values: InputOf<S>, options?: RenderOptions): string;
  /**
   * Typed values from a file's text and the environment.
   * @throws CONFIG_INVALID with all problems of both; `problemsOf(error)` has them one by one.
   */
  parse(text: string, options?: ReadOptions): ValuesOf<S>;
  /** As `parse`, but returns problems, and warnings such as the use of a deprecated name. */
  read(text: string, options?: ReadOptions): ReadResult<ValuesOf<S>>;
  /** The environment variable that overrides an option. */
  envName(section: keyof S & string, key: string): string;
}

/** Checks the table and binds the functions to it. */
export function defineConfig<const S extends Sections>(definition: ConfigDefinition<S>): Config<S> {
  const fault = faultOf(definition);
  if (fault !== undefined) throw fault;
  const config: Config<S> = {
    ...definition,
    render: (values, options) => renderConfig(config, values, options),
    parse: (text, options) => parseConfig(config, text, options) as ValuesOf<S>,
    read: (text, options) => readConfig(config, text, options) as ReadResult<ValuesOf<S>>,
    envName: (section, key) => envName(definition, section, key),
  };
  return config;
}

function faultOf(definition: ConfigDefinition<Sections>): CodedError | undefined {
  const { daemon, sections } = definition;
  const seen = new Map<string, string>();
  const fault = (what: string) => configErrors.CONFIG_DEFINITION({ daemon, what });
  const claim = (name: string, owner: string) => {
    const other = seen.get(name);
    seen.set(name, owner);
    return other === undefined ? undefined : fault(`${name} belongs to both ${other} and ${owner}`);
  };
  for (const [section, options] of Object.entries(sections)) {
    if (!/^[A-Za-z][A-Za-z0-9_-]*$/.test(section)) return fault(`${section} cannot be a section's name`);
    const twice = claim(`[${normalSection(section)}]`, section);
    if (twice !== undefined) return twice;
    for (const [key, spec] of Object.entries(options)) {
      const owner = `[${section}] ${key}`;
      if (!/^[a-z_][a-z0-9_]*$/.test(key)) return fault(`${owner} cannot be an option's name`);
      const names = [key, ...(spec.deprecatedNames ?? [])].map((name) => (typeof name === 'string' ? { section, key: name } : name));
      for (const name of names) {
        const clash = claim(`[${normalSection(name.section)}] ${name.key}`, owner);
        if (clash !== undefined) return clash;
      }
      const sameEnv = claim(envName(definition, section, key), owner);
      if (sameEnv !== undefined) return sameEnv;
      if ([spec.default, spec.defaultFrom, spec.required].filter((given) => given !== undefined).length > 1) {
        return fault(`${owner} has more than one of default, defaultFrom and required`);
      }
      const encoded = spec.default === undefined ? undefined : spec.type.encode(spec.default);
      if (encoded?.ok === false) return fault(`the default of ${owner} ${encoded.reason}`);
    }
  }
  return undefined;
}
