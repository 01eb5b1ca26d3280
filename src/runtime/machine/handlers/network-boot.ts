import type { HandlerContext } from '../handler.ts';

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
