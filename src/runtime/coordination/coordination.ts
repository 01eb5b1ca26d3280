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

export interface Coordination {
  /**
   * Starts a life of the member `name`, the management node's name. An earlier life under this name ends: a node runs one
   * daemon, so a new one means that the old one is gone or about to notice.
   */
  join(name: string): Promise<Membership>;
  isAlive(memberId: string): Promise<boolean>;
  /** Calls `handler` after each change of who is alive. */
  onChange(handler: () => void): { close(): void };
  close(): Promise<void>;
}
