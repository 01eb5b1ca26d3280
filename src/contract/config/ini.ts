/**
 * The INI dialect of oslo.config, line by line, for everything that reads or writes a daemon's configuration.
 *
 *     [section]            only at column 0, alone on its line; repeated sections merge
 *     key = value          or key: value, whichever sign comes first; blanks around both are dropped
 *       more of the value  a line that starts with a blank or tab joins the value with a line feed
 *     key = second value   repeated keys make a list; an option with one value takes the last
 *     # comment            # and ; start a comment at column 0 only; within a value they are part of it
 *     key = " value "      one pair of equal quotes around the first line is dropped: how outer blanks survive
 *
 * Case counts in keys; `$name` is not resolved here but in substitution.ts. Unlike oslo.config, all faults of a file are
 * reported and not just the first, and a NUL is refused. docs/decisions/0001-ini-dialect.md compares this with npm `ini`.
 */
import type { CodedError } from '../errors.ts';
import { configErrors, placeOf } from './errors.ts';

export interface IniAssignment {
  readonly section: string;
  readonly key: string;
  /** Quotes and outer blanks dropped, continuation lines joined by line feeds. */
  readonly value: string;
  /** Line of the key, counted from 1. */
  readonly line: number;
}

export interface IniHeader {
  readonly name: string;
  readonly line: number;
}

export interface IniDocument {
  /** One per header line, in the file's order, so that empty and repeated sections are seen. */
  readonly headers: readonly IniHeader[];
  readonly assignments: readonly IniAssignment[];
  /** Faults of the text. The rest was read on as if the faulty lines were not there. */
  readonly problems: readonly CodedError[];
}

/** Reads `text` (LF, CRLF or CR line ends). `file` is only for messages. Never throws; values never appear in problems. */
export function parseIni(text: string, file?: string): IniDocument {
  const headers: IniHeader[] = [];
  const assignments: IniAssignment[] = [];
  const problems: CodedError[] = [];
  let section: string | undefined;
  let open: { key: string; line: number; parts: string[] } | undefined;
  // After a faulty line its continuation lines are part of the fault, not faults of their own.
  let faulty = false;
  // Behind a faulty header nobody can say which section the values belong to.
  let lost = false;

  const close = () => {
    if (open === undefined) return;
    const { key, line, parts } = open;
    open = undefined;
    if (lost) return;
    if (section === undefined) problems.push(configErrors.CONFIG_NO_SECTION({ where: placeOf({ file, line, key }) }));
    else assignments.push({ section, key, value: parts.join('\n'), line });
  };

  if (text.startsWith('\ufeff')) {
    problems.push(configErrors.CONFIG_BYTE_ORDER_MARK({ where: placeOf({ file, line: 1 }) }));
    text = text.slice(1);
  }

  for (const [index, rawLine] of text.split(/\r\n|\r|\n/).entries()) {
    const where = () => placeOf({ file, line: index + 1, section });
    const line = stripEnd(rawLine);
    if (line.includes('\0')) {
      problems.push(configErrors.CONFIG_NUL({ where: where() }));
      close();
      faulty = true;
    } else if (line === '') {
      close();
      faulty = false;
    } else if (line.startsWith(' ') || line.startsWith('\t')) {
      if (open !== undefined) open.parts.push(stripStart(line));
      else if (!faulty) problems.push(configErrors.CONFIG_CONTINUATION({ where: where() }));
    } else {
      close();
      faulty = false;
      if (line.startsWith('[')) {
        if (line.length > 2 && line.endsWith(']')) {
          section = line.slice(1, -1);
          headers.push({ name: section, line: index + 1 });
          lost = false;
        } else {
          lost = true;
          problems.push(configErrors.CONFIG_SECTION_HEADER({ where: where() }));
        }
      } else if (!line.startsWith('#') && !line.startsWith(';')) {
        const separator = line.search(/[:=]/);
        const key = strip(line.slice(0, Math.max(separator, 0)));
        if (separator < 0 || key === '') {
          problems.push((separator < 0 ? configErrors.CONFIG_ASSIGNMENT : configErrors.CONFIG_EMPTY_KEY)({ where: where() }));
          faulty = true;
        } else {
          open = { key, line: index + 1, parts: [unquote(strip(line.slice(separator + 1)))] };
        }
      }
    }
  }
  close();
  return { headers, assignments, problems };
}

export interface IniSection {
  readonly name: string;
  readonly entries: readonly { readonly key: string; readonly value: string }[];
}

/**
 * Writes sections as `[name]`, `key = value` lines and one blank line after each section, the last one included.
 * Values must have passed `unwritable`; they are quoted where the reader would otherwise change them.
 */
export function formatIni(sections: readonly IniSection[]): string {
  return sections
    .map(({ name, entries }) => {
      const lines = entries.map(({ key, value }) => (value === '' ? `${key} =\n` : `${key} = ${quoteIfNeeded(value)}\n`));
      return `[${name}]\n${lines.join('')}\n`;
    })
    .join('');
}

/** Why `value` cannot stand in a file, or undefined: CR, LF and NUL have no spelling, lone surrogates no UTF-8. */
export function unwritable(value: string): string | undefined {
  if (/[\r\n]/.test(value)) return 'contains a line break';
  if (value.includes('\0')) return 'contains a NUL character';
  if (!value.isWellFormed()) return 'contains half a surrogate pair, which UTF-8 cannot carry';
  return undefined;
}

/** What Python's str.strip removes; JavaScript's trim differs in U+001C–U+001F, U+0085 and U+FEFF. */
const BLANK = '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const LEADING = new RegExp(`^[${BLANK}]+`);
const NOT_BLANK = new RegExp(`[^${BLANK}]`);

/** Drops leading and trailing blanks exactly as Python's `str.strip()` does. */
export function strip(text: string): string {
  return stripStart(stripEnd(text));
}

function stripStart(text: string): string {
  return text.replace(LEADING, '');
}

function stripEnd(text: string): string {
  // A loop: the regular expression [blank]+$ takes quadratic time on a long run of blanks.
  let end = text.length;
  while (end > 0 && !NOT_BLANK.test(text.charAt(end - 1))) end--;
  return text.slice(0, end);
}

/** A lone quote is its own pair for oslo.config, and vanishes. */
function unquote(value: string): string {
  const first = value.charAt(0);
  return (first === '"' || first === "'") && value.endsWith(first) ? value.slice(1, -1) : value;
}

function quoteIfNeeded(value: string): string {
  return unquote(strip(value)) === value ? value : `"${value}"`;
}
