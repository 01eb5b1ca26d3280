/** For what waits on a machine that may lose its power meanwhile: its BMC is asked once nothing moves any more. */
import { sleep } from '../core/clock.ts';
import type { HandlerContext } from './handler.ts';

/** The longest that a disk of the slowest kind takes for a chunk, several times over; each further look comes as much later. */
const STILL_MS = 10_000;

/**
 * Runs `work`, which says `moved` whenever something came of it. Its signal aborts when nothing has for a while and the BMC says that the machine is off:
 * what its silence would be waited for otherwise (sessions that are tried again, reports that do not come) is minutes.
 */
export async function whileOn<T>(
  { node, ports, clock, logger, signal }: Pick<HandlerContext, 'node' | 'ports' | 'clock' | 'logger' | 'signal'>,
  work: (signal: AbortSignal, moved: () => void) => Promise<T>,
): Promise<T> {
  const off = new AbortController();
  const over = new AbortController();
  const watching = AbortSignal.any([signal, over.signal]);
  let movedAt = clock.monotonic();
  const watch = async (): Promise<void> => {
    for (let pauseMs = STILL_MS; ; ) {
      await sleep(clock, pauseMs, watching);
      const stillMs = (): number => clock.monotonic() - movedAt;
      if (stillMs() < STILL_MS) {
        pauseMs = STILL_MS - stillMs();
        continue;
      }
      pauseMs = STILL_MS;
      const power = await ports.power.status(node, watching).catch(() => 'not known');
      // something may have come while the BMC was asked
      if (power === 'off' && stillMs() >= STILL_MS) {
        logger.info('the machine is off while it is worked on');
        off.abort(new Error(`nothing moved for ${Math.round(stillMs() / 1000)} s`));
        return;
      }
    }
  };
  watch().catch(() => undefined); // the work is over
  try {
    return await work(AbortSignal.any([signal, off.signal]), () => {
      movedAt = clock.monotonic();
    });
  } finally {
    over.abort();
  }
}
