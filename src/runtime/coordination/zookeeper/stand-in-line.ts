import type { Lease } from '../coordination.ts';
import { coordinationErrors } from '../errors.ts';
import { holdNode } from './held-node.ts';
import type { LiveSession } from './live-session.ts';

export interface Line {
  readonly name: string;
  readonly path: string;
  readonly limit: number;
  /** Leaves the line when it aborts. */
  readonly stop: AbortSignal;
}

/**
 * Takes a place at the end of the line and waits until fewer than `limit` stand before it. Every waiting one watches the whole line and
 * not only the one before it: with more than one place, the one before may well stay longer than those before that.
 */
export async function standInLine(session: LiveSession, { name, path, limit, stop }: Line): Promise<Lease> {
  const own = await session.createEphemeral(path, '');
  const node = holdNode(session, `${path}/${own}`, (reason, cause) =>
    coordinationErrors.COORDINATION_LEASE_LOST({ name, reason }, { cause }),
  );
  const woken: { wake(): void } = { wake: () => undefined };
  const onEnd = (): void => woken.wake();
  stop.addEventListener('abort', onEnd, { once: true });
  node.lost.addEventListener('abort', onEnd, { once: true });
  const reconnected = session.onReconnected(onEnd);
  try {
    for (;;) {
      const change = Promise.withResolvers<void>();
      woken.wake = change.resolve;
      if (stop.aborted || node.lost.aborted) break;
      const line = (await session.children(path, change.resolve)).sort((a, b) => sequenceOf(a) - sequenceOf(b));
      const place = line.indexOf(own);
      if (place >= 0 && place < limit && !stop.aborted && !node.lost.aborted) {
        return { lost: node.lost, release: () => node.release('it was given back') };
      }
      await change.promise;
    }
    throw stop.aborted ? stop.reason : node.lost.reason;
  } catch (error) {
    // Not awaited: without a connection it lasts, and who stops waiting should not wait.
    void node.release('it left the line');
    throw error;
  } finally {
    reconnected.close();
    stop.removeEventListener('abort', onEnd);
    node.lost.removeEventListener('abort', onEnd);
  }
}

/** The digits that ZooKeeper put at the end of a sequential node. */
export function sequenceOf(node: string): number {
  return Number(node.slice(node.lastIndexOf('-') + 1));
}
