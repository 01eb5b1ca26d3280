/**
 * Errors with a stable code. Each area keeps its own table (`defineErrors`); an entry says what went wrong with the
 * offending value in it, and what to do. docs/errors.md lists them all.
 */
export class CodedError extends Error {
  constructor(
    /** Stable and searchable, e.g. SITE_DUPLICATE_MAC. Never renamed once released. */
    readonly code: string,
    message: string,
    /** What the reader can do about it. */
    readonly cure: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'CodedError';
  }

  /** `CODE: sentence. Cure.`, on one line. */
  override toString(): string {
    return `${this.code}: ${this.message}. ${this.cure}`;
  }
}

export interface ErrorEntry<P> {
  /** One sentence without a full stop, naming the offending value. */
  readonly message: (params: P) => string;
  /** One sentence that starts with a verb. */
  readonly cure: string | ((params: P) => string);
}

type ErrorFactory<P> = (params: P, options?: ErrorOptions) => CodedError;

/** Helper that keeps an entry's parameter type: `entry<{ mac: string }>({ message: …, cure: … })`. */
export function entry<P>(definition: ErrorEntry<P>): ErrorEntry<P> {
  return definition;
}

const tables: { area: string; entries: Record<string, ErrorEntry<never>> }[] = [];

/** Turns a table of entries into one factory per code. `area` is the heading in docs/errors.md. */
// biome-ignore lint/suspicious/noExplicitAny: the parameter type of each entry is kept by the mapped return type
export function defineErrors<T extends Record<string, ErrorEntry<any>>>(
  area: string,
  entries: T,
): { readonly [C in keyof T]: T[C] extends ErrorEntry<infer P> ? ErrorFactory<P> : never } {
  tables.push({ area, entries: entries as Record<string, ErrorEntry<never>> });
  const factories = Object.entries(entries).map(([code, { message, cure }]): [string, ErrorFactory<unknown>] => [
    code,
    (params, options) => new CodedError(code, message(params), typeof cure === 'function' ? cure(params) : cure, options),
  ]);
  return Object.fromEntries(factories) as ReturnType<typeof defineErrors<T>>;
}

/** Every area loaded so far, in order of definition. */
export function errorTables(): readonly { area: string; entries: Readonly<Record<string, ErrorEntry<never>>> }[] {
  return tables;
}

/** What helps against an error of this code, where it is the same for every value; undefined also for codes of no table that is loaded. */
export function cureOfCode(code: string): string | undefined {
  for (const { entries } of tables) {
    const cure = Object.hasOwn(entries, code) ? entries[code]?.cure : undefined;
    if (typeof cure === 'string') return cure;
  }
  return undefined;
}

/** The candidate closest to `word` by edit distance, when it is close enough to be meant. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein distance; adjacent swaps count as one. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, (beforeLast[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
