/** What an option table is made of: options, their sections, and the types that follow from them. */
import type { ValueType } from './value-types.ts';

export interface OptionSpec<T> {
  /** One sentence that says what the value does; Markdown. */
  readonly help: string;
  /** The value when neither environment nor file has one. */
  readonly default?: T;
  /** Like `default`, but text of the file's kind in which `$other_option` is resolved. */
  readonly defaultFrom?: string;
  /** A value must be given. */
  readonly required?: true;
  /** Unit of the number, e.g. `s`. */
  readonly unit?: string;
  /** Environment variable; by default `<envPrefix>_<SECTION>__<KEY>`. */
  readonly env?: string;
  /** Old or other names under which the file may have it; reading one gives a warning. */
  readonly deprecatedNames?: readonly (string | { readonly section: string; readonly key: string })[];
}

export interface Option<out T> extends OptionSpec<unknown> {
  readonly type: ValueType<Exclude<T, undefined>>;
}

export type Sections = Readonly<Record<string, Readonly<Record<string, Option<unknown>>>>>;

type TypeOf<O> = O extends Option<infer T> ? T : never;

/** Every section and key, typed; `undefined` only for options without a default that are not required. */
export type ValuesOf<S extends Sections> = { readonly [N in keyof S]: { readonly [K in keyof S[N]]: TypeOf<S[N][K]> } };

/** Any part of the sections and keys. */
export type InputOf<S extends Sections> = {
  readonly [N in keyof S]?: { readonly [K in keyof S[N]]?: TypeOf<S[N][K]> | undefined } | undefined;
};

export interface ConfigDefinition<S extends Sections> {
  /** Names the daemon in errors and in the reference. */
  readonly daemon: string;
  /** Where the daemon finds the file. */
  readonly file: string;
  readonly envPrefix: string;
  /** Sections and options in the order in which they are rendered. */
  readonly sections: S;
  /** A sentence per section for the reference. */
  readonly sectionHelp?: { readonly [N in keyof S]?: string };
  /** Opening paragraph of the reference. */
  readonly about?: string;
}

/** Declares one option: `option(port(), { default: 7081, help: '…' })`. */
export function option<T, const S extends OptionSpec<NoInfer<T>>>(
  type: ValueType<T>,
  spec: S,
): Option<S extends { default: unknown } | { defaultFrom: string } | { required: true } ? T : T | undefined>;
export function option<T>(type: ValueType<T>, spec: OptionSpec<T>): Option<T> {
  // Exclude<T, undefined> is T for every value type there is, which the compiler cannot know.
  return { ...spec, type } as Option<T>;
}

/** oslo.config's `OS_<GROUP>__<KEY>` with the daemon's own prefix. */
export function envName(definition: Pick<ConfigDefinition<Sections>, 'envPrefix' | 'sections'>, section: string, key: string): string {
  return definition.sections[section]?.[key]?.env ?? `${definition.envPrefix}_${section.toUpperCase()}__${key.toUpperCase()}`;
}

/** Sections are looked up as oslo.config does: case does not count, except that DEFAULT is itself alone. */
export function normalSection(name: string): string {
  return name === 'DEFAULT' ? name : name.toLowerCase();
}
