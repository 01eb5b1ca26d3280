/** A shutdown that the operating system is asked for: by a person at bmctl, and before a machine's reboot. */
import { type Clock, sleep } from '../core/clock.ts';
import type { PowerState } from './power-manager.ts';

export interface ShutDownOptions {
  readonly status: () => Promise<PowerState>;
  readonly softOff: () => Promise<void>;
  /** A look, or what was asked, failed; `asked`: the system has been asked already. What it throws ends the waiting. */
  readonly onFailure: (error: unknown, asked: boolean) => void;
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Asks once, and looks until the machine is off or the deadline has passed. Not before: a BMC that is busy for a moment, or asked in vain, says nothing of a
 * system that writes its disks.
 */
export async function shutDown(options: ShutDownOptions): Promise<{ readonly off: boolean; readonly looks: number }> {
  const { status, softOff, onFailure, clock, intervalMs, deadlineMs, signal } = options;
  const endMs = clock.monotonic() + deadlineMs;
  let asked = false;
  for (let looks = 0; ; looks++) {
    try {
      if ((await status()) === 'off') return { off: true, looks };
      if (!asked) await softOff();
      asked = true;
    } catch (error) {
      if (signal?.aborted) throw error;
      onFailure(error, asked);
    }
    if (clock.monotonic() >= endMs) return { off: false, looks };
    await sleep(clock, intervalMs, signal);
  }
}
