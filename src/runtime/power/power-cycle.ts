/**
 * Waiting until a machine has really changed its power, with the semantics of nova's bare-metal IPMI driver: look every
 * second; send the command once, and again only when sending it failed; give up after `retries` further looks.
 *
 *   look ── as wanted ─────────────▶ done
 *    │ other, or unknown
 *    ├── retries > ipmi_power_retry ▶ error
 *    └── retries += 1, send the command if it was not accepted yet, sleep 1 s, look again
 */
import type { Clock } from '../core/clock.ts';
import { sleep } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import { isChanging, isPermanent, retryAfterMsOf } from './errors.ts';
import type { BootDeviceOptions, PowerManager, PowerState } from './power-manager.ts';
import { shutDown } from './shut-down.ts';

/** nova's names: `active` after a power-on, `deleted` after a power-off. */
export type PowerOutcomeState = 'active' | 'deleted' | 'error';

export interface PowerOutcome {
  readonly state: PowerOutcomeState;
  /** Looks that did not find the wanted state, before the last one. */
  readonly retries: number;
  /** The last failure of a look or a command, where there was one. */
  readonly lastError?: unknown;
}

export interface PowerCycleOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** [baremetal] ipmi_power_retry. Default 10. */
  readonly ipmiPowerRetry?: number;
  /** Default 1,000 ms. */
  readonly intervalMs?: number;
  readonly signal?: AbortSignal;
}

const DEFAULT_POWER_RETRY = 10;
const DEFAULT_INTERVAL_MS = 1000;
/** A BMC that restarts takes about as long. */
const LONGEST_WAIT_MS = 30_000;

export function powerOn(power: PowerManager, options: PowerCycleOptions): Promise<PowerOutcome> {
  return reach(power, 'on', options);
}

export function powerOff(power: PowerManager, options: PowerCycleOptions): Promise<PowerOutcome> {
  return reach(power, 'off', options);
}

export interface SoftOffOptions extends PowerCycleOptions {
  /** How long the operating system has. Default 60,000. */
  readonly deadlineMs?: number;
}

/** Asks the operating system, and cuts the power when the deadline has passed. */
export async function softPowerOff(power: PowerManager, options: SoftOffOptions): Promise<PowerOutcome & { readonly cut: boolean }> {
  const { clock, logger, signal, intervalMs = DEFAULT_INTERVAL_MS, deadlineMs = DEFAULT_SOFT_OFF_MS } = options;
  const { off, looks: retries } = await shutDown({
    status: () => power.status(signal),
    softOff: () => power.softOff(signal),
    onFailure: (error, asked) => {
      if (isPermanent(error)) throw error;
      const doing = asked ? 'the power state could not be read' : 'the shutdown could not be asked for yet';
      logger[isChanging(error) ? 'debug' : 'warn']({ error: String(error) }, doing);
    },
    clock,
    intervalMs,
    deadlineMs,
    signal,
  });
  if (off) return { state: 'deleted', retries, cut: false };
  logger.warn({ deadlineMs }, 'the operating system did not shut down; cutting the power');
  return { ...(await powerOff(power, options)), cut: true };
}

const DEFAULT_SOFT_OFF_MS = 60_000;

/** Boot from the network from now on (a failure is only logged: many BMCs boot PXE first anyway), then power on. */
export async function activate(
  power: PowerManager,
  options: PowerCycleOptions & { readonly boot?: BootDeviceOptions },
): Promise<PowerOutcome> {
  await bootFromNetwork(power, options);
  return powerOn(power, options);
}

/** Off, boot device, on. Stops at a machine that does not go off: a boot device cannot be trusted to a running one. */
export async function reboot(
  power: PowerManager,
  options: PowerCycleOptions & { readonly boot?: BootDeviceOptions },
): Promise<PowerOutcome> {
  const off = await powerOff(power, options);
  if (off.state === 'error') return off;
  await bootFromNetwork(power, options);
  return powerOn(power, options);
}

async function bootFromNetwork(power: PowerManager, options: PowerCycleOptions & { readonly boot?: BootDeviceOptions }): Promise<void> {
  try {
    await power.setBootDevice('pxe', options.boot ?? { persistent: true }, options.signal);
  } catch (error) {
    if (options.signal?.aborted || isPermanent(error)) throw error;
    options.logger.warn({ error: String(error) }, 'the boot device could not be set; powering on all the same');
  }
}

/** Permanent errors (wrong credentials, refused privilege) are thrown at once; all others count as a look that found nothing. */
async function reach(power: PowerManager, wanted: PowerState, options: PowerCycleOptions): Promise<PowerOutcome> {
  const { clock, logger, signal } = options;
  const limit = options.ipmiPowerRetry ?? DEFAULT_POWER_RETRY;
  let retries = 0;
  let accepted = false;
  let lastError: unknown;
  let restMs = 0;
  const note = (error: unknown, doing: string): void => {
    if (signal?.aborted || isPermanent(error)) throw error;
    lastError = error;
    restMs = retryAfterMsOf(error);
    logger[isChanging(error) ? 'debug' : 'warn']({ error: String(error), retries }, doing);
  };
  const outcome = (state: PowerOutcomeState): PowerOutcome => ({ state, retries, ...(lastError !== undefined && { lastError }) });

  for (;;) {
    signal?.throwIfAborted();
    restMs = 0;
    let state: PowerState | undefined;
    try {
      state = await power.status(signal);
    } catch (error) {
      note(error, 'the power state could not be read');
    }
    if (state === wanted) return outcome(wanted === 'on' ? 'active' : 'deleted');
    if (retries > limit) return outcome('error');
    retries += 1;
    if (!accepted) {
      try {
        await (wanted === 'on' ? power.on(signal) : power.off(signal));
        accepted = true;
      } catch (error) {
        note(error, `the power ${wanted} command failed`);
      }
    }
    // a BMC that is known to rest is not counted silent once a second
    await sleep(clock, Math.max(options.intervalMs ?? DEFAULT_INTERVAL_MS, Math.min(restMs, LONGEST_WAIT_MS)), signal);
  }
}
