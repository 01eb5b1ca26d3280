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
  private pinged = false;
  private timer: Timer | undefined;

  constructor(private readonly options: KeepaliveOptions) {
    this.heardAt = options.clock.monotonic();
    this.watch();
  }

  /** The target has sent something. */
  heard(): void {
    this.heardAt = this.options.clock.monotonic();
    this.pinged = false;
  }

  stop(): void {
    this.timer?.cancel();
  }

  private watch(): void {
    const { clock, intervalMs, timeoutMs, ping, onSilent } = this.options;
    const silentMs = clock.monotonic() - this.heardAt;
    if (this.pinged && silentMs >= intervalMs + timeoutMs) {
      onSilent(Math.round(silentMs));
      return;
    }
    if (!this.pinged && silentMs >= intervalMs) {
      this.pinged = true;
      ping();
    }
    const due = this.pinged ? intervalMs + timeoutMs : intervalMs;
    this.timer = clock.after(Math.max(1, Math.ceil(due - silentMs)), () => this.watch());
  }
}
