/** Configuration files as both sides know them: the INI dialect, option tables, rendering, reading, reference pages. */
export { type Config, type ConfigInput, type ConfigOf, defineConfig } from './define-config.ts';
export { configErrors, problemsOf } from './errors.ts';
export { formatIni, type IniAssignment, type IniDocument, type IniSection, parseIni } from './ini.ts';
export { type ConfigDefinition, type InputOf, type Option, type OptionSpec, option, type Sections, type ValuesOf } from './options.ts';
export type { ReadOptions, ReadResult } from './read.ts';
export { referenceTable, renderReference } from './reference.ts';
export type { RenderOptions } from './render.ts';
export * as types from './types.ts';
export type { ValueType } from './value-types.ts';
export {
  checkDerived,
  type DerivedInput,
  type DerivedOptions,
  type DerivedValues,
  deriveFromVip1800,
  kazooMembers,
  SCHEDULER_CALLBACK_PATH,
} from './vip-derived.ts';
