import type { Clock } from '../../core/clock.ts';
import { isAuthenticationFailure, powerErrors } from '../errors.ts';
import { type CheckedAccess, sameCredentials } from './access.ts';

/**
 * Manners towards a BMC's account lock-out: many BMCs lock a user after three to five bad passwords, and a poller with a stale password keeps it
 * locked for everybody. After one failure the same credentials are held back until the cool-down has passed; other
 * credentials may try at once.
 */
export class LockoutGuard {
  #held: { readonly access: CheckedAccess; readonly untilMs: number }[] = [];

  constructor(
    private readonly clock: Clock,
    private readonly coolDownMs: number,
  ) {}

  /** Throws IPMI_AUTH_HELD when these credentials failed a short while ago. */
  check(access: CheckedAccess): void {
    const now = this.clock.monotonic();
    this.#held = this.#held.filter(({ untilMs }) => untilMs > now);
    const hold = this.#held.find((entry) => sameCredentials(entry.access, access));
    if (!hold) return;
    const secondsLeft = Math.ceil((hold.untilMs - now) / 1000);
    throw powerErrors.IPMI_AUTH_HELD({ bmc: access.bmc, user: access.username, secondsLeft });
  }

  note(access: CheckedAccess, error: unknown): void {
    if (!isAuthenticationFailure(error)) return;
    const untilMs = this.clock.monotonic() + this.coolDownMs;
    this.#held = [...this.#held.filter((entry) => !sameCredentials(entry.access, access)), { access, untilMs }];
  }
}
