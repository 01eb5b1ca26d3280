/** Records as Kubernetes objects: both management nodes of a pair, and kubectl, see the same ones. A change is one request that compares and swaps. */
import type { Clock } from '../../core/clock.ts';
import { type Logger, silentLogger } from '../../core/logger.ts';
import type { Network } from '../../core/network.ts';
import type { Random } from '../../core/random.ts';
import { storeErrors } from '../errors.ts';
import { readList, readValue } from '../read-value.ts';
import type { CreateResult, DeleteResult, Kind, ListOptions, Store, Stored, UpdateResult, Watch, WatchEvent } from '../store.ts';
import type { Dumpable, RawRecord } from '../transfer.ts';
import { Watchers } from '../watchers.ts';
import { KindFeed } from './kind-feed.ts';
import {
  fieldsOf,
  fromObject,
  MARK_LENGTH,
  MARKS,
  objectName,
  type Place,
  parseVersion,
  type RecordObject,
  selector,
  toObject,
  type Version,
  writesSince,
} from './record-object.ts';
import { type Answer, RecordsApi } from './records-api.ts';
import type { ApiAccess } from './service-account.ts';

export interface KubernetesStoreOptions {
  readonly access: ApiAccess;
  /** Of the records. Default: the service account's. */
  readonly namespace?: string;
  /** Which pair of management nodes the records belong to, a DNS label: several pairs may share a namespace. */
  readonly scope: string;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger?: Logger;
  /** How long trouble is waited out. Default 30,000. */
  readonly patienceMs?: number;
  /** How long one answer may take. Default 10,000. */
  readonly answerMs?: number;
}

type Swap =
  | { readonly done: true; readonly version: string; readonly object?: RecordObject }
  | { readonly done: false; readonly current: RecordObject | undefined };

export class KubernetesStore implements Store, Dumpable {
  readonly #options: KubernetesStoreOptions;
  readonly #place: Place;
  readonly #api: RecordsApi;
  readonly #watchers = new Watchers();
  readonly #feeds = new Map<string, KindFeed>();
  #closed = false;

  constructor(options: KubernetesStoreOptions) {
    this.#options = options;
    const { access, namespace = access.namespace, scope } = options;
    this.#place = { namespace, scope };
    this.#api = new RecordsApi({ ...options, namespace });
  }

  async get<T>(kind: Kind<T>, id: string): Promise<Stored<T> | undefined> {
    this.#mustBeOpen('get');
    return stored(kind, await this.#read(kind.name, id));
  }

  async list<T>(kind: Kind<T>, options: ListOptions<T> = {}): Promise<Stored<T>[]> {
    this.#mustBeOpen('list');
    await this.#feeds.get(kind.name)?.ready(); // whoever lists after watching misses nothing
    const { items } = await this.#api.list(selector(this.#place.scope, kind.name));
    return readList(kind, this.#records(items, options.onInvalid), options);
  }

  async create<T>(kind: Kind<T>, id: string, value: T): Promise<CreateResult<T>> {
    const json = JSON.stringify(kind.parse(value));
    await this.#readyToWrite('create', kind);
    for (;;) {
      const result = await this.#create(kind.name, id, json);
      if (result.done) return { outcome: 'stored', record: this.#wrote(kind, id, json, result) };
      const current = stored(kind, result.current);
      // Deleted between our two looks: then it may be created now.
      if (current !== undefined) return { outcome: 'exists', current };
    }
  }

  async update<T>(kind: Kind<T>, record: { readonly id: string; readonly value: T }, expectedVersion: string): Promise<UpdateResult<T>> {
    const json = JSON.stringify(kind.parse(record.value));
    await this.#readyToWrite('update', kind);
    const over = parseVersion(expectedVersion);
    if (over === undefined) return { outcome: 'conflict', current: await this.get(kind, record.id) };
    const result = await this.#swap(kind.name, record.id, over, json);
    if (!result.done) return { outcome: 'conflict', current: stored(kind, result.current) };
    return { outcome: 'stored', record: this.#wrote(kind, record.id, json, result) };
  }

  async delete<T>(kind: Kind<T>, record: { readonly id: string }, expectedVersion: string): Promise<DeleteResult<T>> {
    await this.#readyToWrite('delete', kind);
    const { id } = record;
    const over = parseVersion(expectedVersion);
    if (over === undefined) return { outcome: 'conflict', current: await this.get(kind, id) };
    const written = { kind: kind.name, id };
    const body = JSON.stringify({ preconditions: { uid: over.uid, resourceVersion: over.resourceVersion } });
    const name = objectName(this.#place.scope, kind.name, id);
    const answer = await this.#api.call({ verb: 'delete', name, body, written });
    if (answer.status === 200) {
      this.#feeds.get(kind.name)?.removed({ id, version: expectedVersion, uid: over.uid });
      return { outcome: 'deleted' };
    }
    const current = await this.#read(kind.name, id);
    // Gone: by us, whose answer got lost, or by somebody else just then. Nobody can tell.
    this.#mustBeSure(answer.uncertain && current?.uid !== over.uid, written);
    return { outcome: 'conflict', current: stored(kind, current) };
  }

  /** Changes by others count from the first list of the kind on, which `list` waits for. */
  watch<T>(kind: Kind<T>, handler: (event: WatchEvent<T>) => void): Watch {
    this.#mustBeOpen('watch');
    const watch = this.#watchers.add(kind, handler);
    const { scope } = this.#place;
    const { clock, random, logger = silentLogger } = this.#options;
    if (!this.#feeds.has(kind.name)) {
      const tell = this.#watchers.tell.bind(this.#watchers);
      this.#feeds.set(kind.name, new KindFeed({ api: this.#api, scope, kind: kind.name, clock, random, logger, tell }));
    }
    return watch;
  }

  /** In the order of kind and id; of one revision, so what changes meanwhile is in it as it was. */
  async *dump(): AsyncGenerator<RawRecord> {
    this.#mustBeOpen('dump');
    const { items } = await this.#api.list(selector(this.#place.scope));
    const records = [...this.#records(items, undefined)];
    yield* records.sort((a, b) => byText(a.kind, b.kind)).map(({ kind, id, version, json }) => ({ kind, id, version, json }));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watchers.clear();
    this.#api.close();
    await Promise.all([...this.#feeds.values()].map((feed) => feed.close()));
  }

  /** By id. Objects that wear our labels and are no records are told, or fail the call. */
  #records(items: readonly unknown[], onInvalid: ((id: string, error: unknown) => void) | undefined): RecordObject[] {
    const records: RecordObject[] = [];
    for (const item of items) {
      try {
        records.push(fromObject(this.#place.scope, item));
      } catch (error) {
        if (onInvalid === undefined) throw error;
        onInvalid(String(fieldsOf(fieldsOf(item).metadata).name), error);
      }
    }
    return records.sort((a, b) => byText(a.id, b.id));
  }

  /** What the first list of a watch finds is taken for known and not told: a write of our own must not be among it. */
  async #readyToWrite(what: string, { name }: { readonly name: string }): Promise<void> {
    this.#mustBeOpen(what);
    await this.#feeds.get(name)?.ready();
  }

  async #read(kind: string, id: string): Promise<RecordObject | undefined> {
    const { scope } = this.#place;
    const { status, object } = await this.#api.call({ verb: 'get', name: objectName(scope, kind, id) });
    return status === 404 ? undefined : fromObject(scope, object);
  }

  async #create(kind: string, id: string, json: string): Promise<Swap> {
    const mark = this.#mark();
    const written = { kind, id };
    const body = toObject(this.#place, { kind, id, json, marks: mark });
    const answer = await this.#api.call({ verb: 'create', body, written });
    if (answer.status !== 409) return this.#done(answer);
    const current = await this.#read(kind, id);
    const own = answer.uncertain && current !== undefined ? this.#own(mark, current) : undefined;
    if (own !== undefined) return own;
    this.#mustBeSure(answer.uncertain && (current === undefined || hasForgotten(current.marks)), written);
    return { done: false, current };
  }

  async #swap(kind: string, id: string, over: Version, json: string): Promise<Swap> {
    const mark = this.#mark();
    const written = { kind, id };
    const marks = `${mark}${over.marks}`.slice(0, MARKS * MARK_LENGTH);
    const body = toObject(this.#place, { kind, id, json, marks, over });
    const answer = await this.#api.call({ verb: 'update', name: objectName(this.#place.scope, kind, id), body, written });
    if (answer.status === 200 || answer.status === 201) return this.#done(answer);
    const current = await this.#read(kind, id);
    if (answer.uncertain) {
      const own = current === undefined ? undefined : this.#own(mark, current);
      if (own !== undefined) return own;
      const before = over.marks.slice(0, MARK_LENGTH);
      // Ours would stand right before the mark that was there: where that one is still seen and ours is not, we did not write.
      const seen = before !== '' && current !== undefined && writesSince(before, current.marks) >= 0;
      this.#mustBeSure(current?.uid !== over.uid || (!seen && hasForgotten(current.marks)), written);
    }
    return { done: false, current };
  }

  #done({ object }: Answer): Swap {
    const record = fromObject(this.#place.scope, object);
    return { done: true, version: record.version, object: record };
  }

  /** Ours got through, though its answer did not. */
  #own(mark: string, current: RecordObject): Swap | undefined {
    const since = writesSince(mark, current.marks);
    if (since === 0) return { done: true, version: current.version, object: current };
    // Written over by others since: which version it made is not known, but that no record has it any more is.
    return since > 0 ? { done: true, version: `overwritten-${mark}` } : undefined;
  }

  #mustBeSure(unsure: boolean, written: { kind: string; id: string }): void {
    if (!unsure) return;
    const reason = 'the answer got lost, and others have changed the record since';
    throw storeErrors.STORE_OUTCOME_UNKNOWN({ path: this.#options.access.server, ...written, reason });
  }

  #wrote<T>(kind: Kind<T>, id: string, json: string, { version, object }: Extract<Swap, { done: true }>): Stored<T> {
    if (object !== undefined) this.#feeds.get(kind.name)?.wrote({ ...object, json });
    return { id, version, value: readValue(kind, id, json) };
  }

  #mark(): string {
    return Buffer.from(this.#options.random.bytes((MARK_LENGTH / 4) * 3)).toString('base64url');
  }

  #mustBeOpen(what: string): void {
    if (this.#closed) throw storeErrors.STORE_CLOSED({ what });
  }
}

/** Whether a write could have left these marks by now. */
function hasForgotten(marks: string): boolean {
  return marks.length >= MARKS * MARK_LENGTH;
}

function stored<T>(kind: Kind<T>, record: RecordObject | undefined): Stored<T> | undefined {
  return record && { id: record.id, version: record.version, value: readValue(kind, record.id, record.json) };
}

function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
