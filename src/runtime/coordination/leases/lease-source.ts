/**
 * Lease objects (coordination.k8s.io) as this package sees them: from an API server, or a test. Three kinds, of one scope each:
 *
 *     member     who is alive under a node's name; its holder is one life of it
 *     session    one process that holds places in lines, under a name of its own
 *     line       who waits for the places of a semaphore, in the order of asking; held by nobody
 */
export type LeaseKind = 'member' | 'session' | 'line';

/** A place in a line. */
export interface Ticket {
  readonly id: string;
  /** The session that took it; it ends with that. */
  readonly session: string;
}

export interface LeaseFields {
  readonly kind: LeaseKind;
  /** The object's. */
  readonly name: string;
  /** What it is about, as people write it. */
  readonly subject: string;
  /** Empty for a line. */
  readonly holder: string;
  readonly durationMs: number;
  readonly line: readonly Ticket[];
}

export interface StoredLease extends LeaseFields {
  readonly uid: string;
  /** Rises with each write. */
  readonly revision: bigint;
}

export type LeaseEvent =
  | { readonly type: 'put'; readonly lease: StoredLease; readonly position: bigint }
  | { readonly type: 'gone'; readonly name: string; readonly position: bigint }
  /** Nothing has changed, and the watch has come so far. */
  | { readonly type: 'bookmark'; readonly position: bigint };

/** The position is forgotten: list again. */
export class LeasePositionLost extends Error {}

/** What goes wrong is thrown as COORDINATION_KUBERNETES, _TOKEN, _NAMESPACE or _FORBIDDEN. A write without an answer may have been carried out. */
export interface LeaseSource {
  /** All of the scope. */
  list(): Promise<{ readonly leases: readonly StoredLease[]; readonly position: bigint }>;
  /** Changes after `position`; ends when the server has had enough. */
  watch(position: bigint, signal: AbortSignal): AsyncIterable<LeaseEvent>;
  get(name: string): Promise<StoredLease | undefined>;
  /** Undefined: there is one of this name. Every write is a renewal. */
  create(fields: LeaseFields): Promise<StoredLease | undefined>;
  /** Undefined: it is another one by now, or gone. */
  replace(seen: StoredLease, fields: LeaseFields): Promise<StoredLease | undefined>;
  /** False: it is another one by now. */
  remove(seen: StoredLease): Promise<boolean>;
  close(): void;
}
