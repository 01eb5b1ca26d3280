import { withDeadline } from '../../core/clock.ts';
import type { HandlerContext } from '../handler.ts';
import type { PowerState } from '../ports.ts';
import { withEvent } from '../timeline.ts';

/** How often a machine whose ramdisk is waited for is looked at, and how long one look may keep its POST waiting. */
const POWER_LOOK_MS = 60_000;
const LOOK_LIMIT_MS = 15_000;

/** Switches the machine on so that it boots from the network, where the deploy or another ramdisk of ours waits for it. */
export async function powerOnFromNetwork({
  node,
  ports,
  signal,
  logger,
}: Pick<HandlerContext, 'node' | 'ports' | 'signal' | 'logger'>): Promise<void> {
  try {
    // For one boot only: a machine that boots from the network for ever depends on this service for ever (N12).
    await ports.power.setBootDevice(node, 'pxe', { persistent: false }, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    logger.warn({ error: String(error) }, 'the boot device could not be set; powering on all the same');
  }
  await ports.power.ensureOn(node, signal);
}

/**
 * While a ramdisk is waited for: a power-on that got lost (a BMC that forgot it, a supply that went away) would cost the state's whole deadline. A machine
 * that is off is switched on again, which fails as any step does; a BMC that does not answer is asked again later. Resolves to when that is (wall clock).
 */
export async function keepPowered(context: HandlerContext): Promise<number> {
  const { node, ports, clock, signal, report, logger } = context;
  const last = Math.min(clock.now(), Math.max(node.stateSince, node.power?.at ?? 0));
  if (clock.now() < last + POWER_LOOK_MS) return last + POWER_LOOK_MS;
  let state: PowerState;
  try {
    const tooLong = (): Error => new Error(`no answer within ${LOOK_LIMIT_MS / 1000} s`);
    state = await withDeadline(clock, LOOK_LIMIT_MS, tooLong, (limited) => ports.power.status(node, limited), signal);
  } catch (error) {
    if (signal.aborted) throw error;
    logger.warn({ error: String(error) }, 'the BMC did not say whether the machine is on; the ramdisk is waited for all the same');
    return clock.now() + POWER_LOOK_MS;
  }
  if (state === 'off') {
    await powerOnFromNetwork(context);
    const at = clock.now();
    const event = { type: 'power on again', detail: 'it was off while its ramdisk was waited for' };
    await report((latest) => withEvent({ ...latest, power: { state: 'on', at } }, event, at));
  } else {
    const at = clock.now();
    await report((latest) => ({ ...latest, power: { state: 'on', at } }));
  }
  return clock.now() + POWER_LOOK_MS;
}
