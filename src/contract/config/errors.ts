/** What can be wrong with a configuration. Every entry names the place: file and line, or environment variable, and [section] key. */
import { type CodedError, defineErrors, entry } from '../errors.ts';
import { maskUrlPasswords } from '../mask.ts';

/** `where` is a readable place such as `bms.ini line 3, [pxe] nfs_server_ip`; see `placeOf`. */
export const configErrors = defineErrors('CONFIG', {
  CONFIG_INVALID: entry<{ subject: string; problems: readonly CodedError[] }>({
    message: ({ subject, problems }) =>
      `${subject} has ${problems.length === 1 ? '1 problem' : `${problems.length} problems`}: ${problems
        .map((problem, index) => `(${index + 1}) ${problem.toString()}`)
        .join(' ')}`,
    cure: 'Correct every place that is listed; docs/reference/ describes each option',
  }),
  CONFIG_BYTE_ORDER_MARK: entry<{ where: string }>({
    message: ({ where }) => `${where}: the file starts with a byte order mark (U+FEFF), which would become part of its first line`,
    cure: 'Save the file as UTF-8 without a BOM',
  }),
  CONFIG_NUL: entry<{ where: string }>({
    message: ({ where }) => `${where}: the line contains a NUL character`,
    cure: 'Remove it; configuration files are text',
  }),
  CONFIG_SECTION_HEADER: entry<{ where: string }>({
    message: ({ where }) => `${where}: the line starts with "[" but is not a section header`,
    cure: 'Write [name] alone on its line, with no comment after it',
  }),
  CONFIG_ASSIGNMENT: entry<{ where: string }>({
    message: ({ where }) => `${where}: the line is neither a comment nor "key = value"`,
    cure: 'Write key = value; a line that continues a value starts with a blank',
  }),
  CONFIG_EMPTY_KEY: entry<{ where: string }>({
    message: ({ where }) => `${where}: there is no key before the "="`,
    cure: 'Write key = value',
  }),
  CONFIG_CONTINUATION: entry<{ where: string }>({
    message: ({ where }) => `${where}: the line starts with a blank, so it continues a value, but no value is open here`,
    cure: 'Remove the leading blanks; comments, headers and blank lines end a value',
  }),
  CONFIG_NO_SECTION: entry<{ where: string }>({
    message: ({ where }) => `${where}: a value stands before the first section`,
    cure: 'Put [DEFAULT] above it',
  }),
  CONFIG_UNKNOWN_SECTION: entry<{ where: string; nearest?: string | undefined; known: readonly string[] }>({
    message: ({ where }) => `${where}: there is no such section`,
    cure: ({ nearest, known }) =>
      nearest === undefined ? `Use one of ${known.map((name) => `[${name}]`).join(' ')}` : `Did you mean [${nearest}]?`,
  }),
  CONFIG_UNKNOWN_KEY: entry<{ where: string; nearest?: string | undefined; elsewhere?: string | undefined; known: readonly string[] }>({
    message: ({ where }) => `${where}: there is no such option`,
    cure: ({ nearest, elsewhere, known }) => {
      if (elsewhere !== undefined) return `Move it to section [${elsewhere}], where this option lives`;
      return nearest === undefined ? `Use one of ${known.join(', ')}` : `Did you mean ${nearest}?`;
    },
  }),
  CONFIG_UNKNOWN_ENV: entry<{ name: string; nearest?: string | undefined }>({
    message: ({ name }) => `environment variable ${name} has the prefix of this daemon's options, but names none of them`,
    cure: ({ nearest }) => (nearest === undefined ? 'Remove it; docs/reference/ lists the names' : `Did you mean ${nearest}?`),
  }),
  CONFIG_REPEATED_KEY: entry<{ where: string; lines: readonly number[] }>({
    message: ({ where, lines }) => `${where}: the option takes one value but is set on lines ${lines.join(', ')}`,
    cure: 'Keep one of the lines; a file that repeats itself as a whole was probably appended to instead of replaced',
  }),
  CONFIG_VALUE: entry<{ where: string; value: string; reason: string; expected: string }>({
    message: ({ where, value, reason }) => `${where}: ${value} ${reason}`,
    cure: ({ expected }) => `Give ${expected}`,
  }),
  CONFIG_REQUIRED: entry<{ where: string; env: string; help: string }>({
    message: ({ where }) => `${where}: the option is required and has no value`,
    cure: ({ env, help }) => `Set it in the file or as environment variable ${env}: ${help}`,
  }),
  CONFIG_SUBSTITUTION: entry<{ where: string; reference: string; reason: string }>({
    message: ({ where, reference, reason }) => `${where}: $${reference} ${reason}`,
    cure: 'Name an option of the same section, of [DEFAULT] or section.option, or write $$ for a plain dollar sign',
  }),
  CONFIG_SECRET_IN_TEXT: entry<{ where: string; env: string }>({
    message: ({ where }) => `${where}: the option is secret and would be written into a configuration text that others can read`,
    cure: ({ env }) => `Leave it out and give the daemon the environment variable ${env} from a Kubernetes Secret`,
  }),
  CONFIG_DEFINITION: entry<{ daemon: string; what: string }>({
    message: ({ daemon, what }) => `the option table of ${daemon} contradicts itself: ${what}`,
    cure: 'Correct the defineConfig call',
  }),
  CONFIG_DERIVED_MISMATCH: entry<{ section: string; key: string; value: string; expected: string; reason: string }>({
    message: ({ section, key, value, reason }) => `[${section}] ${key} = ${maskUrlPasswords(value)} ${reason}`,
    cure: ({ section, key, expected }) => `Remove it, so that it is derived, or write ${key} = ${expected} in [${section}]`,
  }),
});

/** A readable place: `bms.ini line 3, [pxe] nfs_server_ip`. Parts that are unknown are left out. */
export function placeOf(place: {
  file?: string | undefined;
  line?: number | undefined;
  section?: string | undefined;
  key?: string | undefined;
}): string {
  const file = place.line === undefined ? place.file : `${place.file ?? 'configuration'} line ${place.line}`;
  const section = place.section === undefined ? undefined : `[${printable(place.section)}]`;
  const option = [section, place.key === undefined ? undefined : printable(place.key)].filter((part) => part !== undefined).join(' ');
  return [file, option].filter((part) => part !== undefined && part !== '').join(', ');
}

/** A value as it may stand in a message: quoted, control characters escaped, passwords of URLs masked, cut after 120 characters. */
export function quoted(value: string): string {
  const masked = maskUrlPasswords(value);
  return JSON.stringify(masked.length > 120 ? `${masked.slice(0, 120)}…` : masked);
}

/** Gathers problems into one error: code CONFIG_INVALID, the problems one by one in `problemsOf(error)`. */
export function configInvalid(subject: string, problems: readonly CodedError[]): CodedError {
  return configErrors.CONFIG_INVALID({ subject, problems }, { cause: new AggregateError(problems, subject) });
}

/** The single problems behind an error that `parse` or `render` threw; empty for any other error. */
export function problemsOf(error: unknown): readonly CodedError[] {
  if (!(error instanceof Error) || !(error.cause instanceof AggregateError)) return [];
  return error.cause.errors;
}

function printable(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text).slice(1, -1);
}
