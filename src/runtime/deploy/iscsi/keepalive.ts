/** One timer for the life of a session: it pings after silence and gives up after more of it. */
import type { Clock, Timer } from 'cdk8s-baremetal-runtime/core/index';

export interface KeepaliveOptions {
  readonly clock: Clock;
  /** Silence after which the target is pinged. */
  readonly intervalMs: number;
  /** Silence after a ping that ends the session. */
  readonly timeoutMs: number;
  readonly ping: () => void;
  readonly onSilent: (silentMs: number) => void;
}

export class Keepalive {
  private heardAt: number;
  private pingedAt: number | undefined;
  private timer: Timer | undefined;

  constructor(private readonly options: KeepaliveOptions) {
    this.heardAt = options.clock.monotonic();
    this.watch();
  }

  /** The target has sent something. */
  heard(): void {
    this.heardAt = this.options.clock.monotonic();
    this.pingedAt = undefined;
  }

  stop(): void {
    this.timer?.cancel();
  }

  private watch(): void {
    const { clock, intervalMs, timeoutMs, ping, onSilent } = this.options;
    const now = clock.monotonic();
    const silentMs = now - this.heardAt;
    // from the ping on: a process that was stopped finds much silence that was its own
    if (this.pingedAt !== undefined && now - this.pingedAt >= timeoutMs) {
      onSilent(Math.round(silentMs));
      return;
    }
    if (this.pingedAt === undefined && silentMs >= intervalMs) {
      this.pingedAt = now;
      ping();
    }
    const due = this.pingedAt === undefined ? this.heardAt + intervalMs : this.pingedAt + timeoutMs;
    this.timer = clock.after(Math.max(1, Math.ceil(due - now)), () => this.watch());
  }
}
