/**
 * Backups, and the way from one store to another: all records as lines of JSON. The first line names the format; every other is one record.
 * Versions are not carried over (each store has its own); what a record is, is its kind, its id and its value.
 */
import type { Clock } from '../core/clock.ts';
import { isoTime } from '../core/iso-time.ts';
import { storeErrors } from './errors.ts';
import type { Kind, Store } from './store.ts';

export interface RawRecord {
  readonly kind: string;
  readonly id: string;
  readonly version: string;
  readonly json: string;
}

/** What can give all its records, of whatever kind, in the order of kind and id. */
export interface Dumpable {
  dump(): AsyncGenerator<RawRecord>;
}

export interface ImportOptions {
  /** Also write records whose value in the store is another. Default: refuse the whole import when there is one. */
  readonly overwrite?: boolean;
}

export interface ImportResult {
  readonly created: number;
  readonly overwritten: number;
  /** Were there already, with the same value. */
  readonly unchanged: number;
}

const FORMAT = 'bms-records';
const FORMAT_VERSION = 1;
const SHOWN = 5;

/** Lines without their line breaks. Holds the records' values: no secret is among them, but addresses and names are. */
export async function* exportRecords(store: Dumpable, { clock }: { readonly clock: Clock }): AsyncGenerator<string> {
  yield JSON.stringify({ format: FORMAT, version: FORMAT_VERSION, at: isoTime(clock.now()) });
  let count = 0;
  for await (const { kind, id, json } of store.dump()) {
    count += 1;
    yield JSON.stringify({ kind, id, value: JSON.parse(json) });
  }
  yield JSON.stringify({ end: true, records: count }); // a backup that was cut short is told from a whole one
}

/**
 * Reads everything first, then compares, then writes, so a file that cannot be used changes nothing. May be repeated: what is there with
 * the same value is left alone. Records that the file does not name stay. No daemon should run on the store meanwhile.
 */
export async function importRecords(
  store: Store,
  lines: AsyncIterable<string> | Iterable<string>,
  { overwrite = false }: ImportOptions = {},
): Promise<ImportResult> {
  const records = await readLines(lines);
  const different: { readonly record: ImportedRecord; readonly version: string }[] = [];
  const missing: ImportedRecord[] = [];
  let unchanged = 0;
  for (const record of records) {
    const current = await store.get(anyKind(record.kind), record.id);
    if (current === undefined) missing.push(record);
    else if (canonical(current.value) === canonical(record.value)) unchanged += 1;
    else different.push({ record, version: current.version });
  }
  const names = different.map(({ record }) => `${record.kind} ${record.id}`);
  if (!overwrite && names.length > 0) {
    throw storeErrors.STORE_IMPORT_CONFLICT({ count: names.length, first: names.slice(0, SHOWN) });
  }
  for (const { kind, id, value } of missing) {
    const { outcome } = await store.create(anyKind(kind), id, value);
    if (outcome === 'exists') throw storeErrors.STORE_IMPORT_CONFLICT({ count: 1, first: [`${kind} ${id}`] });
  }
  for (const { record, version } of different) {
    const { outcome } = await store.update(anyKind(record.kind), record, version);
    if (outcome === 'conflict') throw storeErrors.STORE_IMPORT_CONFLICT({ count: 1, first: [`${record.kind} ${record.id}`] });
  }
  return { created: missing.length, overwritten: different.length, unchanged };
}

interface ImportedRecord {
  readonly kind: string;
  readonly id: string;
  readonly value: unknown;
}

async function readLines(lines: AsyncIterable<string> | Iterable<string>): Promise<ImportedRecord[]> {
  const records = new Map<string, ImportedRecord>();
  let number = 0;
  let ended = false;
  for await (const text of lines) {
    number += 1;
    const refuse = (reason: string): Error => storeErrors.STORE_IMPORT_LINE({ line: number, reason });
    if (text.trim() === '') continue;
    if (ended) throw refuse('it comes after the end');
    const line = parseLine(text);
    if (line === undefined) throw refuse('it is not a JSON object');
    if (number === 1) {
      if (line.format !== FORMAT) throw refuse(`it does not begin with {"format":"${FORMAT}",…}`);
      if (line.version !== FORMAT_VERSION)
        throw refuse(`its format has version ${String(line.version)}, this program knows ${FORMAT_VERSION}`);
    } else if (line.end === true) {
      if (line.records !== records.size) throw refuse(`it counts ${String(line.records)} records, the file has ${records.size}`);
      ended = true;
    } else {
      const { kind, id, value } = line;
      if (typeof kind !== 'string' || !/^[a-z][a-z-]{0,63}$/.test(kind)) throw refuse('it has no kind');
      if (typeof id !== 'string' || id === '') throw refuse('it has no id');
      if (value === undefined) throw refuse('it has no value');
      const key = `${kind} ${id}`;
      if (records.has(key)) throw refuse(`${key} comes twice`);
      records.set(key, { kind, id, value });
    }
  }
  if (!ended) throw storeErrors.STORE_IMPORT_LINE({ line: number + 1, reason: 'the end is missing, the file was cut short' });
  return [...records.values()];
}

function parseLine(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Any value as it is: a backup must carry what a newer or older program wrote. */
function anyKind(name: string): Kind<unknown> {
  return { name, parse: (value) => value };
}

/** The same text for the same value, whatever the order of its fields. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
