/** This replica in its group: joins until it is in, and when it has lost its place joins again, once all work has stopped. */
import type { Coordination, Membership } from '../coordination/index.ts';
import { type Clock, sleep } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';

export interface GroupLifeOptions {
  readonly coordination: Coordination;
  readonly memberName: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly retryMs: number;
  /** Ends all that was begun as a member; the next life begins when it has resolved. */
  readonly stopWork: (reason: string) => Promise<void>;
  /** After each life but the first has begun. */
  readonly onRejoined: () => void;
}

export class GroupLife {
  readonly #options: GroupLifeOptions;
  readonly #stop = new AbortController();
  #membership: Membership | undefined;
  #rejoining: Promise<void> | undefined;

  constructor(options: GroupLifeOptions) {
    this.#options = options;
  }

  /** Undefined while there is none. */
  get membership(): Membership | undefined {
    return this.#membership;
  }

  /** Resolves when it is in, or is to leave. */
  async join(): Promise<void> {
    const { coordination, memberName, clock, logger, retryMs } = this.#options;
    while (!this.#stop.signal.aborted) {
      try {
        const membership = await coordination.join(memberName);
        this.#membership = membership;
        membership.lost.addEventListener('abort', () => this.#onLost(membership), { once: true });
        if (membership.lost.aborted) this.#onLost(membership);
        return;
      } catch (error) {
        logger.error({ error: String(error) }, 'the group could not be joined; trying again');
        await sleep(clock, retryMs, this.#stop.signal).catch(() => undefined);
      }
    }
  }

  /** No life begins after this. */
  stop(): void {
    this.#stop.abort(new Error('the daemon is closing'));
  }

  /** Others may take over at once. */
  async leave(): Promise<void> {
    this.stop();
    await this.#rejoining;
    await this.#membership?.leave();
    this.#membership = undefined;
  }

  #onLost(membership: Membership): void {
    if (this.#membership !== membership || this.#stop.signal.aborted) return;
    this.#membership = undefined;
    const { logger, stopWork, onRejoined } = this.#options;
    logger.warn({ member: membership.id, reason: String(membership.lost.reason) }, 'no longer in the group; stopping all work');
    this.#rejoining = stopWork('no longer in the group')
      .then(() => this.join())
      .then(() => onRejoined());
  }
}
