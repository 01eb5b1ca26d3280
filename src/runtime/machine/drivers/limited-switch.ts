/** A switch has few management sessions, and every replica wants one: so many at a time among all of them, whoever asks. */
import type { Coordination } from '../../coordination/index.ts';
import type { SwitchDriver, SwitchPort } from './switch-vifs.ts';

export interface SwitchLimits {
  /** [sw_coordination] max_connections */
  readonly limit: number;
  /** [sw_coordination] acquire_lock_timeout, in milliseconds; COORDINATION_BUSY after it. */
  readonly timeoutMs: number;
}

/** Each call holds one of the switch's places while it lasts, and stops when it loses it. */
export function limitedSwitch(driver: SwitchDriver, coordination: Pick<Coordination, 'acquire'>, limits: SwitchLimits): SwitchDriver {
  const inPlace = async (port: SwitchPort, signal: AbortSignal, work: (signal: AbortSignal) => Promise<void>): Promise<void> => {
    const place = await coordination.acquire(`switch.${port.datapathId}`, { ...limits, signal });
    try {
      await work(AbortSignal.any([signal, place.lost]));
    } finally {
      await place.release();
    }
  };
  return {
    connect: (port, vif, signal) => inPlace(port, signal, (held) => driver.connect(port, vif, held)),
    clear: (port, signal) => inPlace(port, signal, (held) => driver.clear(port, held)),
  };
}
