/**
 * A circuit breaker for one BMC: after some commands in a row without any answer it is left alone for a while, then one command goes through as a probe. Nobody
 * waits ten seconds for a BMC that is known to be dead, and its network is not flooded when it comes back.
 *
 *   closed ── 3 silences in a row ──▶ open ── 5 s, 10 s, … 5 min (± 20 %) ──▶ half-open ── an answer ──▶ closed
 *                                      ▲                                         │
 *                                      └──────────────── silence ────────────────┘
 */
import type { Clock } from '../../core/clock.ts';
import { type Random, randomInt } from '../../core/random.ts';
import { powerErrors } from '../errors.ts';

export type BreakerState = 'closed' | 'open' | 'half-open';

const SILENCES = 3;
const FIRST_REST_MS = 5_000;
const LONGEST_REST_MS = 300_000;

export class Breaker {
  #silences = 0;
  #rests = 0;
  #untilMs = 0;
  #probing = false;

  constructor(
    private readonly bmc: string,
    private readonly clock: Clock,
    private readonly random: Random,
  ) {}

  get state(): BreakerState {
    if (this.#rests === 0) return 'closed';
    return this.#probing || this.clock.monotonic() >= this.#untilMs ? 'half-open' : 'open';
  }

  /** Throws IPMI_BMC_RESTING (with `retryAfterMs`) while the BMC is left alone, and for all but one while it is probed. */
  enter(): void {
    if (this.#rests === 0) return;
    const leftMs = this.#untilMs - this.clock.monotonic();
    if (leftMs <= 0 && !this.#probing) {
      this.#probing = true;
      return;
    }
    const retryAfterMs = Math.max(leftMs, 1000);
    const { bmc } = this;
    const error = powerErrors.IPMI_BMC_RESTING({ bmc, silences: this.#silences, secondsLeft: Math.ceil(retryAfterMs / 1000) });
    throw Object.assign(error, { retryAfterMs });
  }

  answered(): void {
    this.#silences = 0;
    this.#rests = 0;
    this.#probing = false;
  }

  silent(): void {
    this.#silences += 1;
    this.#probing = false;
    if (this.#silences < SILENCES) return;
    const restMs = Math.min(FIRST_REST_MS * 2 ** this.#rests, LONGEST_REST_MS);
    this.#rests += 1;
    this.#untilMs = this.clock.monotonic() + restMs * (0.8 + randomInt(this.random, 401) / 1000);
  }

  /** The probe ended without telling anything (its caller gave up). */
  undecided(): void {
    this.#probing = false;
  }
}
