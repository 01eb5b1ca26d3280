/**
 * Who is alive among the management nodes of a pod. Each replica keeps one lease, however many machines it owns; what it owns is
 * written on the machines' records with the member's id, and another replica may take those over once the lease has run out.
 *
 * The watchdog. A member that cannot reach the coordination service does not know whether others still count it alive. Every
 * implementation therefore aborts `Membership.lost` at two thirds of the lease's time after the last renewal that was confirmed, by the
 * member's own monotonic clock, while others wait for the whole time: the member has stopped a third of a lease before
 * anybody takes over. A process that is suspended as a whole (SIGSTOP, a hypervisor's pause) cannot run its watchdog: when it wakes it may do
 * harm until the next check, and what then protects the machines is said at the head of machine/reconciler.ts, not promised here.
 */
export interface Membership {
  /** One life of one member: the same name joined again gets another id. */
  readonly id: string;
  /** Aborts when this life is over or may be over; it never comes back, the member has to join again. */
  readonly lost: AbortSignal;
  /** Gives the lease up at once, so that others need not wait for it to expire. Harmless when repeated. */
  leave(): Promise<void>;
}

export interface AcquireOptions {
  /** Places that exist under this name; every caller must ask with the same number. E.g. `[sw_coordination] max_connections`. */
  readonly limit: number;
  /** How long to stand in line, e.g. `[sw_coordination] acquire_lock_timeout` in milliseconds. */
  readonly timeoutMs: number;
  /** Leaves the line when it aborts; the call rejects with its reason. */
  readonly signal?: AbortSignal;
}

/** One of the places of a semaphore. */
export interface Lease {
  /** Aborts when the place is given back, gone or may be gone, by the same watchdog as a membership. Stop using what it stood for. */
  readonly lost: AbortSignal;
  /** Gives the place to the next in line. Harmless when repeated. */
  release(): Promise<void>;
}

export interface Coordination {
  /**
   * Starts a life of the member `name`, the management node's name. An earlier life under this name ends: a node runs one
   * daemon, so a new one means that the old one is gone or about to notice.
   */
  join(name: string): Promise<Membership>;
  /** Whether others count this life alive. False is final: an id is never given to another life. */
  isAlive(memberId: string): Promise<boolean>;
  /** Calls `handler` after each change of who is alive. */
  onChange(handler: () => void): { close(): void };
  /**
   * A place among `limit` under `name` (a switch's management sessions), shared by all replicas and given in the order of asking. A
   * holder that dies loses its place when its session runs out. Rejects with COORDINATION_BUSY when none came free in time.
   */
  acquire(name: string, options: AcquireOptions): Promise<Lease>;
  close(): Promise<void>;
}
