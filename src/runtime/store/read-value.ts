import { storeErrors } from './errors.ts';
import type { Kind, ListOptions, Stored } from './store.ts';

/** A stored JSON text through its kind's schema; STORE_RECORD_INVALID names the record when it does not fit. */
export function readValue<T>(kind: Kind<T>, id: string, json: string): T {
  try {
    return kind.parse(JSON.parse(json));
  } catch (error) {
    // The schema's issues name fields, never values: a record holds no secret, but a log line need not repeat it either.
    throw storeErrors.STORE_RECORD_INVALID({ kind: kind.name, id, reason: describe(error) }, { cause: error });
  }
}

/** What every `list` does once it has its rows. */
export function readList<T>(
  kind: Kind<T>,
  rows: Iterable<{ readonly id: string; readonly version: string | number; readonly json: string }>,
  options: ListOptions<T>,
): Stored<T>[] {
  const records: Stored<T>[] = [];
  for (const { id, version, json } of rows) {
    try {
      const value = readValue(kind, id, json);
      if (options.where?.(value) ?? true) records.push({ id, version: String(version), value });
    } catch (error) {
      if (options.onInvalid === undefined) throw error;
      options.onInvalid(id, error);
    }
  }
  return records;
}

function describe(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'issues' in error && Array.isArray(error.issues)) {
    return error.issues
      .slice(0, 3)
      .map((issue: { path?: unknown[]; message?: string }) => `${issue.path?.join('.') ?? ''}: ${issue.message ?? 'invalid'}`)
      .join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}
