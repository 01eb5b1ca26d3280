/**
 * From machines that nobody has enrolled and that want to boot to records of them, as slowly as a person could look at them: a network can make up a new
 * MAC with every packet. What is too much is counted, said once a minute, and not enrolled; an honest machine asks again.
 */
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { DhcpProblem } from './dhcp/problems.ts';
import type { DiscoveredMachine, Noted } from './dhcp/strangers.ts';

export type DiscoveryOutcome =
  | { readonly outcome: 'enrolled' | 'interface added' | 'known'; readonly node: string }
  /** So many records wait for completion already. */
  | { readonly outcome: 'full'; readonly limit: number };

export interface DiscoveryOptions {
  readonly clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly logger: Logger;
  /** Makes a record of it, once. Rejects when the store does not answer: the machine asks again. */
  readonly enrol: (found: DiscoveredMachine) => Promise<DiscoveryOutcome>;
  /** New machines per minute, and as many at once. */
  readonly perMinute: number;
  /** Must not throw. */
  readonly onOutcome?: (outcome: DiscoveryOutcome['outcome'] | 'too fast' | 'failed', found: DiscoveredMachine) => void;
  /** Must not throw. */
  readonly onProblem?: (problem: DhcpProblem) => void;
}

const MINUTE_MS = 60_000;

export class Discovery {
  readonly #options: DiscoveryOptions;
  #tokens: number;
  #refilledMs: number;
  /** One at a time: of a flood, the store sees one request. */
  #queue: Promise<unknown> = Promise.resolve();
  readonly #saidMs = new Map<string, number>();

  constructor(options: DiscoveryOptions) {
    this.#options = options;
    this.#tokens = options.perMinute;
    this.#refilledMs = options.clock.monotonic();
  }

  /** For DhcpServer's onDiscovered. False: it came too fast, or the store did not answer, and it is to be told of when it asks again. */
  found(found: DiscoveredMachine): Noted {
    if (!this.#take()) {
      this.#options.onOutcome?.('too fast', found);
      const detail = `more than ${this.#options.perMinute} unknown machines a minute want to boot; those beyond are not enrolled`;
      this.#say({ kind: 'discovery-limited', subject: 'rate', mac: found.mac, detail });
      return false;
    }
    const noted = this.#queue.then(() => this.#enrol(found));
    this.#queue = noted;
    return noted;
  }

  /** Resolves when what was found so far is on record, or will not be. */
  async settled(): Promise<void> {
    await this.#queue;
  }

  async #enrol(found: DiscoveredMachine): Promise<boolean> {
    const { enrol, logger, onOutcome } = this.#options;
    try {
      const result = await enrol(found);
      onOutcome?.(result.outcome, found);
      if (result.outcome === 'full') {
        const detail = `${result.limit} discovered machines wait for somebody to complete them; no further one is enrolled`;
        this.#say({ kind: 'discovery-limited', subject: 'number', mac: found.mac, detail });
      } else if (result.outcome !== 'known')
        logger.info(
          { ...found, node: result.node },
          result.outcome === 'enrolled' ? 'an unknown machine was enrolled' : 'an interface was discovered',
        );
      return true;
    } catch (error) {
      onOutcome?.('failed', found);
      logger.warn({ ...found, error: error instanceof Error ? error.message : String(error) }, 'an unknown machine could not be enrolled');
      return false;
    }
  }

  #say(problem: DhcpProblem): void {
    const now = this.#options.clock.monotonic();
    if (now < (this.#saidMs.get(problem.subject) ?? Number.NEGATIVE_INFINITY) + MINUTE_MS) return;
    this.#saidMs.set(problem.subject, now);
    this.#options.logger.warn({ ...problem }, problem.detail);
    this.#options.onProblem?.(problem);
  }

  #take(): boolean {
    const { clock, perMinute } = this.#options;
    const now = clock.monotonic();
    this.#tokens = Math.min(perMinute, this.#tokens + ((now - this.#refilledMs) / MINUTE_MS) * perMinute);
    this.#refilledMs = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
