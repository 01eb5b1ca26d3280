/** When to send again: RFC 6298's estimator with bounds for a LAN, and its exponential back-off with jitter. Pure. */
import { type Random, randomInt } from '../../core/random.ts';

/** Before anything was measured: many times a LAN's round trip, a quarter of the second that others wait. */
export const INITIAL_RTO_MS = 250;
/** Below this, a ROM that pauses to copy a block would be taken for a lost packet. */
const MIN_RTO_MS = 50;
const MAX_RTO_MS = 1000;
const CLOCK_GRAIN_MS = 10;
const KEPT_DOUBLINGS_MAX = 3;
/**
 * Every so many repetitions in vain the sender is silent for longer than a client's own timer: atftp answers a repeated block once only, and starts its
 * five seconds anew with each datagram that it ignores. Where that one answer was lost, repetitions alone would keep it waiting until both give up.
 */
const IN_VAIN = 5;
const SILENCE_MS = 6000;
/** Fewer are taken for loss, not for a slow wire. */
const LATE_IN_A_ROW = 3;

export class RetransmitTimer {
  private smoothedMs: number | undefined;
  private variationMs = 0;
  private rtoMs = INITIAL_RTO_MS;
  private attempts = 0;
  private lateInARow = 0;

  constructor(
    private readonly random: Random,
    /** The interval that was negotiated (RFC 2349), kept to the letter; undefined: adaptive. */
    private readonly fixedMs: number | undefined,
  ) {}

  /** A round trip of packets that were sent once (Karn's rule: an answer to a repeated one is ambiguous). */
  sample(rttMs: number): void {
    if (this.smoothedMs === undefined) {
      this.smoothedMs = rttMs;
      this.variationMs = rttMs / 2;
    } else {
      this.variationMs = 0.75 * this.variationMs + 0.25 * Math.abs(this.smoothedMs - rttMs);
      this.smoothedMs = 0.875 * this.smoothedMs + 0.125 * rttMs;
    }
    this.rtoMs = Math.min(MAX_RTO_MS, Math.max(MIN_RTO_MS, this.smoothedMs + Math.max(CLOCK_GRAIN_MS, 4 * this.variationMs)));
  }

  /**
   * The peer has confirmed something, `afterTimeout` when it had to be repeated by the timer. The next wait is a first one
   * again, unless nothing was measured yet or answers keep coming after repetitions only: then the wire may be slower than
   * the estimate, and the longer wait stays until a clean sample corrects it (Karn's second rule).
   */
  progress(afterTimeout: boolean): void {
    this.lateInARow = afterTimeout ? this.lateInARow + 1 : 0;
    if (!afterTimeout || (this.smoothedMs !== undefined && this.lateInARow < LATE_IN_A_ROW)) this.attempts = 0;
    else if (this.smoothedMs !== undefined) this.attempts = Math.min(this.attempts, KEPT_DOUBLINGS_MAX);
  }

  /** The wait before the first repetition. */
  firstMs(): number {
    return this.fixedMs ?? this.doubledMs();
  }

  /** The wait after one more repetition: doubled each time up to a second, every fifth a silence of six, up to a quarter longer by chance. */
  nextMs(): number {
    this.attempts++;
    if (this.fixedMs !== undefined) return this.fixedMs;
    const wait = this.attempts % IN_VAIN === 0 ? SILENCE_MS : this.doubledMs();
    return wait * (1 + randomInt(this.random, 256) / 1024);
  }

  private doubledMs(): number {
    return Math.min(MAX_RTO_MS, this.rtoMs * 2 ** Math.min(this.attempts, 10));
  }
}
