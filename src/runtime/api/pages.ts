/** Pages by cursor: a cursor is the last entry's key, so what is added or removed meanwhile neither repeats nor hides an entry. */
import { apiErrors, Refusal } from './errors.ts';

export interface Page<T> {
  readonly entries: readonly T[];
  readonly next?: string;
}

/** `all` is in the order of its keys, which are unique. */
export function page<T>(
  all: readonly T[],
  keyOf: (entry: T) => number,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Page<T> {
  const after = cursor === undefined ? Number.NEGATIVE_INFINITY : read(cursor);
  const rest = all.filter((entry) => keyOf(entry) > after);
  const entries = rest.slice(0, limit);
  const last = entries.at(-1);
  return { entries, ...(last !== undefined && rest.length > limit && { next: Buffer.from(`after ${keyOf(last)}`).toString('base64url') }) };
}

function read(cursor: string): number {
  const key = /^after (\d{1,15})$/.exec(Buffer.from(cursor, 'base64url').toString())?.[1];
  if (key === undefined) throw new Refusal(apiErrors.API_CURSOR({}));
  return Number(key);
}
