/** A budget of bytes a second that all deployments share, first come, first served: the provisioning network carries more than images. */
import { type Clock, sleep } from '../core/clock.ts';

export class Bandwidth {
  private freeAt = 0;

  /** `bytesPerSecond` of 0: no limit. */
  constructor(
    private readonly clock: Clock,
    private readonly bytesPerSecond: number,
  ) {}

  /** Resolves when so many bytes may be sent; rejects with the signal's reason. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.bytesPerSecond <= 0) return;
    const now = this.clock.monotonic();
    const from = Math.max(now, this.freeAt);
    this.freeAt = from + (bytes * 1000) / this.bytesPerSecond;
    if (from > now) await sleep(this.clock, Math.ceil(from - now), signal);
  }
}
