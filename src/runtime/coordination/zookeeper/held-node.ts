import type { LiveSession } from './live-session.ts';

export interface HeldNode {
  /** Aborts when the node is gone or may be: the session is lost, somebody removed it, or we did. */
  readonly lost: AbortSignal;
  /** Resolves when the node is gone, or will go with its lost session. Harmless when repeated. */
  release(reason: string): Promise<void>;
}

/** Stands guard over an ephemeral node of ours: the session alone does not tell when another removes the node. */
export function holdNode(session: LiveSession, path: string, explain: (reason: string, cause?: unknown) => Error): HeldNode {
  const controller = new AbortController();
  const end = (reason: string, cause?: unknown): void => {
    session.lost.removeEventListener('abort', onLost);
    controller.abort(explain(reason, cause));
  };
  const onLost = (): void => end(messageOf(session.lost.reason), session.lost.reason);
  session.lost.addEventListener('abort', onLost, { once: true });
  if (session.lost.aborted) onLost();
  else void guard(session, path, controller.signal).then(() => end('its node was removed'), onFailure);

  function onFailure(error: unknown): void {
    if (!controller.signal.aborted) end(messageOf(error), error);
  }

  return {
    lost: controller.signal,
    async release(reason) {
      if (controller.signal.aborted) return;
      end(reason);
      await session.remove(path).catch(() => undefined); // only a lost session fails here, and the node goes with it
    },
  };
}

/** Resolves when the node is gone. */
async function guard(session: LiveSession, path: string, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    const change = Promise.withResolvers<void>();
    const reconnected = session.onReconnected(change.resolve);
    const onEnded = (): void => change.resolve();
    ended.addEventListener('abort', onEnded, { once: true });
    try {
      if (!(await session.exists(path, change.resolve))) return;
      await change.promise;
    } finally {
      reconnected.close();
      ended.removeEventListener('abort', onEnded);
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
