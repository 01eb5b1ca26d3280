/**
 * What changes among the records of one kind: a list, then a watch from the list's revision on, resumed where it broke off; when the server has
 * forgotten that place (410) or what it sends makes no sense, another list, whose difference to what is known is told. So a change may be told late, and
 * several of one record as its newest state, but none is lost, deletions included. Own writes are told at once, and their echoes are not.
 */
import { type Clock, sleep } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import { type Random, randomInt } from '../../core/random.ts';
import type { RawChange } from '../watchers.ts';
import { fieldsOf, fromObject, type RecordObject, selector } from './record-object.ts';
import type { RecordsApi } from './records-api.ts';
import { WatchBroken, watchLines } from './watch-lines.ts';

export interface KindFeedOptions {
  readonly api: RecordsApi;
  readonly scope: string;
  readonly kind: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly tell: (change: RawChange) => void;
}

/** The server ends a watch after so long, at least, and up to as long again: not all at once. */
const WATCH_S = 300;
/** Bookmarks come about once a minute; a connection that is silent for longer than two of them may be dead. */
const SILENCE_MS = 150_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;
/** More than one process deletes at a time; one forgotten too early is told twice. */
const REMEMBERED_ENDS = 1000;

/** The server has forgotten the revision that we wanted to go on from. */
class Expired extends Error {}

export class KindFeed {
  readonly #options: KindFeedOptions;
  readonly #stop = new AbortController();
  /** Newest state of each record that has been told or listed, by id. */
  readonly #known = new Map<string, { readonly revision: bigint; readonly uid: string }>();
  /** Objects that were deleted from here, by uid, with the number of lists begun by then: what still comes of them is old. */
  readonly #deleted = new Map<string, number>();
  /** The last objects whose end was told, by uid: the server may tell it before it answers whoever deleted, or wrote before that. */
  readonly #ended = new Set<string>();
  #lists = 0;
  #started: Promise<void> | undefined;
  /** Where the watch goes on; undefined: a list is needed. */
  #position: string | undefined;
  readonly #running: Promise<void>;

  constructor(options: KindFeedOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** Resolves when no change from now on is missed; rejects when that cannot be had now. */
  ready(): Promise<void> {
    this.#started ??= this.#list(false).catch((error: unknown) => {
      this.#started = undefined;
      throw error;
    });
    return this.#started;
  }

  /** A change of our own, told at once. */
  wrote(record: RecordObject): void {
    this.#learn(record);
  }

  removed({ id, version, uid }: Pick<RecordObject, 'id' | 'version' | 'uid'>): void {
    if (this.#ended.has(uid)) return; // the watch was faster than the answer
    this.#deleted.set(uid, this.#lists);
    if (this.#known.get(id)?.uid !== uid && this.#known.has(id)) return; // made anew by somebody else, and told
    this.#known.delete(id);
    this.#options.tell({ kind: this.#options.kind, id, version, json: undefined });
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('nobody watches any more'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, random, logger, kind } = this.#options;
    await Promise.resolve(); // not inside the call of watch()
    let failures = 0;
    let pauseMs = FIRST_PAUSE_MS;
    while (!this.#stop.signal.aborted) {
      let heard = false;
      try {
        await this.ready();
        if (this.#position === undefined) await this.#list(true);
        await this.#watch(() => {
          heard = true;
          if (failures > 2) logger.info({ kind }, 'changes of records are heard again');
          failures = 0;
        });
      } catch (error) {
        if (this.#stop.signal.aborted || this.#options.api.signal.aborted) return;
        if (error instanceof Expired) this.#position = undefined;
        failures += 1;
        // A connection that breaks is nothing to tell of. That others' changes have not been heard of for seconds is.
        if (failures === 3) logger.warn({ kind, error: String(error) }, 'changes of records are not heard; trying again');
      }
      pauseMs = heard || failures === 0 ? FIRST_PAUSE_MS : Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      await sleep(clock, pauseMs / 2 + randomInt(random, pauseMs), this.#stop.signal).catch(() => undefined);
    }
  }

  /** `told`: there is something to compare with, so what differs is a change. */
  async #list(told: boolean): Promise<void> {
    const { api, scope, kind, tell } = this.#options;
    this.#lists += 1;
    const number = this.#lists;
    const { items, resourceVersion } = await api.list(selector(scope, kind));
    const listed = new Set<string>();
    for (const item of items) {
      const record = this.#read(item);
      if (record === undefined) continue;
      listed.add(record.id);
      if (told) this.#learn(record);
      else if (!this.#deleted.has(record.uid) && (this.#known.get(record.id)?.revision ?? -1n) < record.revision)
        this.#known.set(record.id, { revision: record.revision, uid: record.uid });
    }
    const revision = BigInt(resourceVersion);
    for (const [id, known] of [...this.#known]) {
      if (listed.has(id) || known.revision > revision) continue;
      this.#end(id, known.uid);
      tell({ kind, id, version: `${known.revision}.${known.uid}.`, json: undefined });
    }
    // deleted before this list began: it cannot have been in it, and the watch goes on from here
    for (const [uid, before] of [...this.#deleted]) if (before < number) this.#deleted.delete(uid);
    this.#position = resourceVersion;
  }

  /** Until the server ends it; throws when it breaks. */
  async #watch(onHeard: () => void): Promise<void> {
    const { api, scope, kind, clock, random } = this.#options;
    const query = {
      labelSelector: selector(scope, kind),
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion: this.#position ?? '',
      timeoutSeconds: `${WATCH_S + randomInt(random, WATCH_S)}`,
    };
    const cut = new AbortController();
    const onStop = (): void => cut.abort(this.#stop.signal.reason);
    this.#stop.signal.addEventListener('abort', onStop, { once: true });
    const silent = (): void => cut.abort(new Error(`not a word for ${SILENCE_MS / 1000} s`));
    let timer = clock.after(SILENCE_MS, silent);
    try {
      const { status, body } = await api.watch(query, cut.signal);
      if (status === 410) throw new Expired('the revision is compacted');
      const heard = async function* (): AsyncGenerator<Uint8Array> {
        for await (const piece of body) {
          timer.cancel();
          timer = clock.after(SILENCE_MS, silent);
          yield piece;
        }
      };
      for await (const { type, object } of watchLines(heard())) {
        if (this.#stop.signal.aborted) return;
        this.#take(type, object);
        onHeard();
      }
      onHeard();
    } catch (error) {
      // Nonsense may come again from the same place, so it is not gone on from.
      if (error instanceof WatchBroken) this.#position = undefined;
      throw error;
    } finally {
      timer.cancel();
      this.#stop.signal.removeEventListener('abort', onStop);
      cut.abort(new Error('the watch is over'));
    }
  }

  #take(type: string, object: unknown): void {
    const { resourceVersion } = fieldsOf(fieldsOf(object).metadata);
    switch (type) {
      case 'BOOKMARK':
        break;
      case 'ADDED':
      case 'MODIFIED': {
        const record = this.#read(object);
        if (record !== undefined) this.#learn(record);
        break;
      }
      case 'DELETED': {
        const record = this.#read(object);
        if (record !== undefined) this.#forget(record);
        break;
      }
      case 'ERROR': {
        const { code, message } = fieldsOf(object);
        if (code === 410) throw new Expired(String(message));
        throw new Error(`the API server ended the watch: ${String(message)}`);
      }
      default:
        return; // of a newer API: it speaks of no change that we know
    }
    if (typeof resourceVersion === 'string' && /^\d{1,19}$/.test(resourceVersion)) this.#position = resourceVersion;
  }

  #learn(record: RecordObject): void {
    const { kind, id, version, json, revision, uid } = record;
    if (this.#deleted.has(uid) || this.#ended.has(uid) || (this.#known.get(id)?.revision ?? -1n) >= revision) return;
    this.#known.set(id, { revision, uid });
    this.#options.tell({ kind, id, version, json });
  }

  #forget({ kind, id, version, revision, uid }: RecordObject): void {
    if (this.#deleted.delete(uid)) return;
    const known = this.#known.get(id);
    if (known === undefined || known.revision > revision) return;
    this.#end(id, uid);
    this.#options.tell({ kind, id, version, json: undefined });
  }

  #end(id: string, uid: string): void {
    this.#known.delete(id);
    this.#ended.add(uid);
    const [oldest] = this.#ended;
    if (this.#ended.size > REMEMBERED_ENDS && oldest !== undefined) this.#ended.delete(oldest);
  }

  /** Undefined for what wears our labels and is no record: a call that lists says so, a watch has nobody to tell. */
  #read(object: unknown): RecordObject | undefined {
    try {
      const record = fromObject(this.#options.scope, object);
      return record.kind === this.#options.kind ? record : undefined;
    } catch {
      return undefined;
    }
  }
}
