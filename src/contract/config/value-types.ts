/**
 * The value types of configuration options: what text oslo.config accepts for each, as zod codecs between that text and
 * the typed value. An option's type is one of these calls, e.g. `integer({ min: 1 })`, `listOf(string())`.
 */
import * as z from 'zod';
import { Secret } from '../secret.ts';
import { strip, unwritable } from './ini.ts';

/** One text of the file ↔ one typed value. */
export type TextCodec<T> = z.ZodType<T, string>;

export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

export interface ValueType<out T> {
  /** Names the type and its limits after "a" or "an" and in the reference, e.g. `integer from 1 to 10`. */
  readonly name: string;
  /** True when every line `key = …` adds one value (oslo's MultiStrOpt); otherwise the last line wins. */
  readonly repeated: boolean;
  readonly secret: boolean;
  /** From the texts of the option's lines, at least one. The reason of a failure follows the value in a sentence. */
  decode(texts: readonly string[]): Outcome<T>;
  /** To one text per line. Takes anything, since values may come from YAML. Failure: as `decode`. */
  encode(value: unknown): Outcome<readonly string[]>;
}

/** Any text of one line. Blanks around it survive; line breaks and NUL have no spelling in the file and are refused. */
export function string(limits: { pattern?: RegExp; what?: string; maxLength?: number } = {}): ValueType<string> {
  const { pattern, what = pattern === undefined ? 'text' : `text that matches ${String(pattern)}`, maxLength } = limits;
  const schema = line()
    .refine((value) => pattern?.test(value) ?? true, { error: `is no ${what}` })
    .refine((value) => maxLength === undefined || value.length <= maxLength, { error: `is longer than ${maxLength} characters` });
  return single(what, z.codec(z.string(), schema, { decode: (text) => text, encode: (value) => value }));
}

/** Only values that come from the model: text of the file is always a list. */
const NO_LIST = 'is not a list, such as [one, two]';

/** One of a few words; case counts. */
export function choice<const C extends readonly [string, ...string[]]>(choices: C): ValueType<C[number]> {
  const name = `choice of ${choices.join(', ')}`;
  const schema = z.enum(choices, { error: `is none of ${choices.join(', ')}` });
  const codec: TextCodec<C[number]> = z.codec(z.string(), schema, {
    decode: (text, context) => choices.find((known) => known === text) ?? refuse(context, text, `is none of ${choices.join(', ')}`),
    encode: (value) => value,
  });
  return single(name, codec);
}

/** true/false, 1/0, yes/no, on/off in any case; written as true and false. */
export function boolean(): ValueType<boolean> {
  const codec: TextCodec<boolean> = z.codec(z.string(), z.boolean({ error: 'is not a boolean' }), {
    decode: (text, context) => {
      const word = text.toLowerCase();
      if (['true', '1', 'on', 'yes'].includes(word)) return true;
      if (['false', '0', 'off', 'no'].includes(word)) return false;
      return refuse(context, text, 'is none of true, false, yes, no, on, off, 1, 0');
    },
    encode: (value) => String(value),
  });
  return single('boolean', codec);
}

/** Decimal, with sign and single underscores as Python's int(); at most 2⁵³ − 1 either way. */
export function integer(limits: { min?: number; max?: number; choices?: readonly number[] } = {}): ValueType<number> {
  return single(`whole number${rangeName(limits)}`, integerCodec(limits));
}

export function integerCodec(limits: { min?: number; max?: number; choices?: readonly number[] }): TextCodec<number> {
  const reason = `is not a whole number${rangeName(limits)}`;
  return z.codec(z.string(), z.int({ error: reason }).refine(within(limits), { error: reason }), {
    decode: (text, context) => {
      const digits = strip(text);
      if (!/^[+-]?\d+(_\d+)*$/.test(digits)) return refuse(context, text, reason);
      // + 0 turns -0, which Python does not have, into 0.
      return Number(digits.replaceAll('_', '')) + 0;
    },
    encode: (value) => String(value),
  });
}

/** A finite decimal number with optional exponent. Written as Python does, so 1 becomes `1.0`. */
export function float(limits: { min?: number; max?: number } = {}): ValueType<number> {
  const reason = `is not a number${rangeName(limits)}`;
  const codec: TextCodec<number> = z.codec(z.string(), z.number({ error: reason }).refine(within(limits), { error: reason }), {
    decode: (text, context) => {
      const digits = strip(text);
      const pattern = /^[+-]?(\d+(_\d+)*\.?|\d*(?<=\d)(_\d+)*\.\d+(_\d+)*|\.\d+(_\d+)*)(e[+-]?\d+(_\d+)*)?$/i;
      return pattern.test(digits) ? Number(digits.replaceAll('_', '')) : refuse(context, text, reason);
    },
    encode: pythonFloat,
  });
  return single(`number${rangeName(limits)}`, codec);
}

/** Text that must not be seen; typed as `Secret`. See `render` about writing one. */
export function secret(): ValueType<Secret> {
  const holder = z
    .instanceof(Secret, { error: 'is not a Secret' })
    .refine((value) => unwritable(value.reveal()) === undefined, { error: 'contains a line break, a NUL or a broken character' });
  const codec: TextCodec<Secret> = z.codec(z.string(), holder, { decode: (text) => new Secret(text), encode: (value) => value.reveal() });
  return { ...single('secret text', codec), secret: true };
}

/**
 * Comma-separated, blanks around items dropped, commas at the end ignored. As in oslo.config an item that is refused
 * is tried again together with the next one, so item types may contain commas.
 */
export function listOf<T>(item: ValueType<T>): ValueType<readonly T[]> {
  const decode = (texts: readonly string[]): Outcome<readonly T[]> => {
    const all = strip(texts.at(-1) ?? '');
    let end = all.length;
    while (all.charAt(end - 1) === ',') end--;
    return decodeParts(all.slice(0, end), (text) => item.decode([strip(text)]));
  };
  const encode = (value: unknown): Outcome<readonly string[]> => {
    if (!Array.isArray(value)) return { ok: false, reason: NO_LIST };
    const texts = encodeAll(item, value);
    if (!texts.ok) return texts;
    const text = texts.value.join(',');
    // The item types cannot tell whether an item with a comma, outer blanks or nothing in it comes back: ask the reader.
    const back = decode([text]);
    const again = back.ok ? encodeAll(item, back.value) : back;
    const same = again.ok && again.value.length === texts.value.length && again.value.every((each, index) => each === texts.value[index]);
    return same ? { ok: true, value: [text] } : { ok: false, reason: 'has an item that a comma-separated list cannot carry' };
  };
  return { name: `comma-separated list of ${item.name}`, repeated: false, secret: item.secret, decode, encode };
}

/** `name:value` pairs separated by commas; written sorted by name, as oslo.config does. */
export function dictOf<T>(item: ValueType<T>): ValueType<Readonly<Record<string, T>>> {
  const decodePair = (text: string): Outcome<readonly [string, T]> => {
    const colon = text.indexOf(':');
    if (colon < 0) return { ok: false, reason: 'is not name:value' };
    const value = item.decode([strip(text.slice(colon + 1))]);
    return value.ok ? { ok: true, value: [strip(text.slice(0, colon)), value.value] } : value;
  };
  const decode = (texts: readonly string[]): Outcome<Readonly<Record<string, T>>> => {
    const pairs = decodeParts(strip(texts.at(-1) ?? ''), decodePair);
    if (!pairs.ok) return pairs;
    const names = new Set<string>();
    for (const [name] of pairs.value) {
      if (name === '') return { ok: false, reason: 'has a pair without a name' };
      if (names.has(name)) return { ok: false, reason: `has the name ${JSON.stringify(name)} twice` };
      names.add(name);
    }
    return { ok: true, value: Object.fromEntries(pairs.value) };
  };
  const encode = (value: unknown): Outcome<readonly string[]> => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return { ok: false, reason: 'is not a table of names and values' };
    const names = Object.keys(value).sort();
    const texts = encodeAll(
      item,
      names.map((name) => Reflect.get(value, name)),
    );
    if (!texts.ok) return texts;
    const text = names.map((name, index) => `${name}:${texts.value[index]}`).join(',');
    const back = decode([text]);
    const again = back.ok
      ? encodeAll(
          item,
          names.map((name) => Reflect.get(back.value, name)),
        )
      : back;
    const same =
      back.ok &&
      again.ok &&
      Object.keys(back.value).length === names.length &&
      names.every((name, index) => Object.hasOwn(back.value, name) && again.value[index] === texts.value[index]);
    const broken = unwritable(text);
    if (!same || broken !== undefined) return { ok: false, reason: broken ?? 'has a name or value that name:value pairs cannot carry' };
    return { ok: true, value: [text] };
  };
  return { name: `comma-separated pairs name:${item.name}`, repeated: false, secret: item.secret, decode, encode };
}

/** Repeated lines, each one value, in the file's order (oslo's MultiOpt). A list without values writes no line. */
export function repeated<T>(item: ValueType<T>): ValueType<readonly T[]> {
  return {
    name: `${item.name}, repeatable`,
    repeated: true,
    secret: item.secret,
    decode: (texts) => {
      const values: T[] = [];
      for (const text of texts) {
        const outcome = item.decode([text]);
        if (!outcome.ok) return outcome;
        values.push(outcome.value);
      }
      return { ok: true, value: values };
    },
    encode: (value) => (Array.isArray(value) ? encodeAll(item, value) : { ok: false, reason: NO_LIST }),
  };
}

/** A type with one text per value, from its codec. */
export function single<T>(name: string, codec: TextCodec<T>): ValueType<T> {
  return {
    name,
    repeated: false,
    secret: false,
    decode: (texts) => outcomeOf(z.safeDecode(codec, texts.at(-1) ?? '')),
    encode: (value) => {
      // zod types the argument, values from YAML are unknown: it checks them all the same.
      const outcome = outcomeOf(z.safeEncode(codec, value as T));
      return outcome.ok ? { ok: true, value: [outcome.value] } : outcome;
    },
  };
}

/** A line of text that a file can carry. */
export function line() {
  return z
    .string({ error: 'is not text' })
    .refine((value) => unwritable(value) === undefined, { error: (issue) => unwritable(String(issue.input)) ?? '' });
}

/** Reports `reason` from within a codec. */
export function refuse(context: z.core.ParsePayload, input: unknown, reason: string): never {
  context.issues.push({ code: 'custom', message: reason, input });
  return z.NEVER;
}

/** Python's repr of a float: a fraction always, an exponent from 10¹⁶ up and below 10⁻⁴. */
export function pythonFloat(value: number): string {
  const [mantissa = '0', exponentText = '0'] = value.toExponential().split('e');
  const exponent = Number(exponentText);
  if (exponent >= 16 || exponent < -4) {
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  if (Object.is(value, -0)) return '-0.0';
  if (Number.isInteger(value)) return `${value}.0`;
  // JavaScript writes exponents from 10⁻⁷ down only, so this is plain.
  return String(value);
}

function outcomeOf<T>(result: z.ZodSafeParseResult<T>): Outcome<T> {
  return result.success ? { ok: true, value: result.data } : { ok: false, reason: result.error.issues[0]?.message ?? 'is wrong' };
}

/** Splits at commas; a part that is refused is tried again joined with the next ones. */
function decodeParts<T>(text: string, decodeOne: (part: string) => Outcome<T>): Outcome<readonly T[]> {
  const parts = text === '' ? [] : text.split(',');
  const values: T[] = [];
  for (let start = 0, end = 1; start < parts.length; start = end, end = start + 1) {
    const first = decodeOne(parts[start] ?? '');
    let outcome = first;
    while (!outcome.ok && end < parts.length) outcome = decodeOne(parts.slice(start, ++end).join(','));
    if (!outcome.ok) return { ok: false, reason: `has a part that ${first.ok ? outcome.reason : first.reason}` };
    values.push(outcome.value);
  }
  return { ok: true, value: values };
}

function encodeAll<T>(item: ValueType<T>, values: readonly unknown[]): Outcome<readonly string[]> {
  const texts: string[] = [];
  for (const value of values) {
    const outcome = item.encode(value);
    if (!outcome.ok) return outcome;
    texts.push(...outcome.value);
  }
  return { ok: true, value: texts };
}

function within({ min, max, choices }: { min?: number; max?: number; choices?: readonly number[] }): (value: number) => boolean {
  return (value) => (min === undefined || value >= min) && (max === undefined || value <= max) && (choices?.includes(value) ?? true);
}

function rangeName({ min, max, choices }: { min?: number; max?: number; choices?: readonly number[] }): string {
  if (choices !== undefined) return ` out of ${choices.join(', ')}`;
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  if (min !== undefined) return ` of at least ${min}`;
  return max === undefined ? '' : ` of at most ${max}`;
}
