/**
 * Every machine in short, kept up to date by watching: lists, metrics and events read it, so that ten thousand machines are not read
 * from the store for each of them. What is shown of one machine, and everything that changes one, reads the store.
 */
import type { NodeSummary } from 'cdk8s-baremetal-contract/api/index';
import type { Logger } from '../core/logger.ts';
import { deadlineOf, type NodeRecord, nodeKind, type TimelineEvent, type Transition } from '../machine/index.ts';
import { type Followed, follow, type Store, type Stored, type WatchEvent } from '../store/index.ts';
import { nodeSummary } from './node-view.ts';

export interface IndexedNode {
  readonly summary: NodeSummary;
  readonly version: string;
  readonly deadline: number | undefined;
  readonly instanceUuid: string | undefined;
  /** The image of a deployment under way. */
  readonly imageInUse: string | undefined;
  /** The newest of each, to tell what is new in the next version. */
  readonly lastTransition: Transition | undefined;
  readonly lastSeen: TimelineEvent | undefined;
}

export interface NodeChange {
  readonly before: IndexedNode | undefined;
  readonly after: IndexedNode | undefined;
  /** New since `before`; of a machine that was not known, none. */
  readonly transitions: readonly Transition[];
  readonly seen: readonly TimelineEvent[];
}

export class NodeIndex {
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #nodes = new Map<string, IndexedNode>();
  readonly #invalid = new Set<string>();
  readonly #listeners = new Set<(change: NodeChange) => void>();
  #followed: Followed<NodeRecord> | undefined;
  #ready: Promise<void> | undefined;

  constructor(options: { readonly store: Store; readonly logger: Logger }) {
    this.#store = options.store;
    this.#logger = options.logger;
  }

  /** Resolves when every machine is known. A failure of the store fails this call; the next one tries again. */
  ready(): Promise<void> {
    this.#ready ??= this.#begin().catch((error: unknown) => {
      this.#ready = undefined;
      throw error;
    });
    return this.#ready;
  }

  /** By number. */
  list(): IndexedNode[] {
    return [...this.#nodes.values()].sort((a, b) => a.summary.number - b.summary.number);
  }

  get(uuid: string): IndexedNode | undefined {
    return this.#nodes.get(uuid);
  }

  /** Records that cannot be read. */
  get invalid(): number {
    return this.#invalid.size;
  }

  onChange(listener: (change: NodeChange) => void): void {
    this.#listeners.add(listener);
  }

  close(): void {
    this.#followed?.close();
    this.#listeners.clear();
  }

  async #begin(): Promise<void> {
    this.#followed ??= follow(this.#store, nodeKind, (event) => this.#onEvent(event));
    const onInvalid = (id: string, error: unknown): void => this.#onInvalid(id, error);
    await this.#followed.read((record) => this.#nodes.set(record.id, indexed(record)), { onInvalid });
  }

  #onEvent(event: WatchEvent<NodeRecord>): void {
    if (event.type === 'invalid') {
      this.#onInvalid(event.id, event.error);
      return;
    }
    const id = event.type === 'put' ? event.record.id : event.id;
    this.#invalid.delete(id);
    const before = this.#nodes.get(id);
    if (event.type === 'delete') {
      this.#nodes.delete(id);
      if (before) this.#tell({ before, after: undefined, transitions: [], seen: [] });
      return;
    }
    const after = indexed(event.record);
    this.#nodes.set(id, after);
    const { history, timeline } = event.record.value;
    this.#tell({
      before,
      after,
      transitions: before ? newer(history, before.lastTransition, sameTransition) : [],
      seen: before ? newer(timeline, before.lastSeen, sameEvent) : [],
    });
  }

  #onInvalid(id: string, error: unknown): void {
    this.#logger.error({ node: id, error: String(error) }, 'the record cannot be read');
    this.#nodes.delete(id);
    this.#invalid.add(id);
  }

  #tell(change: NodeChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

function indexed({ value, version }: Stored<NodeRecord>): IndexedNode {
  return {
    summary: nodeSummary(value),
    version,
    deadline: deadlineOf(value),
    instanceUuid: value.instance?.uuid,
    imageInUse: value.state === 'active' ? undefined : value.instance?.imageId,
    lastTransition: value.history.at(-1),
    lastSeen: value.timeline.at(-1),
  };
}

/** What comes after the one that was last; all of them when that has been pushed out. */
function newer<T>(all: readonly T[], last: T | undefined, same: (a: T, b: T) => boolean): readonly T[] {
  if (last === undefined) return all;
  const index = all.findLastIndex((one) => same(one, last));
  return all.slice(index + 1);
}

const sameTransition = (a: Transition, b: Transition): boolean => a.at === b.at && a.from === b.from && a.to === b.to;
/** An event that is counted up is the same one still. */
const sameEvent = (a: TimelineEvent, b: TimelineEvent): boolean => a.at === b.at && a.type === b.type && a.detail === b.detail;
