/** Waits until a machine has got where it was sent, and shows the way. */

import type { ApiEvent, NodeDetail, NodeSummary } from 'cdk8s-baremetal-contract/api/index';
import { sleep, withDeadline } from 'cdk8s-baremetal-runtime/core/index';
import { isPassing } from '../api-client.ts';
import { commandErrors } from '../errors.ts';
import { ExitError, exitCode } from '../exit-codes.ts';
import type { CommandContext } from '../node-commands.ts';
import { progressText } from '../progress-text.ts';

export interface FollowOptions {
  readonly node: string;
  /** What people call it. */
  readonly name: string;
  readonly timeoutMs: number;
  /** Undefined: not there yet. `failed`: it will not get there. */
  readonly verdict: (node: NodeSummary) => 'there' | 'failed' | undefined;
}

/** A daemon that is restarted is there again within seconds. */
const AGAIN_MS = 1_000;

/**
 * Reads events one answer at a time (`once`), so that nothing is needed but requests: an answer comes when something happens, and the next request
 * goes on after it. A daemon that is started again in the meantime is asked until it answers.
 */
export async function follow(context: CommandContext, { node, name, timeoutMs, verdict }: FollowOptions): Promise<NodeSummary> {
  const { clock, signal } = context;
  const late = (): Error => new ExitError(exitCode.timeout, commandErrors.BMCTL_TIMEOUT({ name, seconds: timeoutMs / 1000 }));
  return withDeadline(clock, timeoutMs, late, (limit) => followed(context, node, verdict, limit), signal);
}

async function followed(
  context: CommandContext,
  node: string,
  verdict: FollowOptions['verdict'],
  signal: AbortSignal,
): Promise<NodeSummary> {
  let lastId: string | undefined;
  let shown = '';
  let silent = false;
  for (;;) {
    const text = await context.api
      .text('events', {
        query: { node, once: 'true' },
        signal,
        ...(lastId !== undefined && { headers: { 'last-event-id': lastId } }),
      })
      .catch((error: unknown) => {
        if (signal.aborted || !isPassing(error)) throw error;
        if (!silent) context.note(`${error instanceof Error ? error.message : String(error)}; asking until it does`);
        silent = true;
      });
    if (text === undefined) {
      await sleep(context.clock, AGAIN_MS, signal);
      continue;
    }
    silent = false;
    const { id, events } = parseEvents(text);
    lastId = id ?? lastId;
    for (const event of events) {
      if (event.type !== 'node') continue;
      const line = stateLine(event.node);
      if (line !== shown) (context.progress ?? context.note)(line);
      shown = line;
      const found = verdict(event.node);
      if (found === 'there') return event.node;
      if (found !== 'failed') continue;
      // A replica may tell how it was before: the record itself decides.
      const record = await context.api.ask('showNode', { node: event.node.uuid });
      if (verdict(record) === 'failed') throw failure(record);
    }
  }
}

function failure({ name, lastFailure, state, reason }: NodeDetail): ExitError {
  const why = lastFailure === undefined ? `${name} is ${state}: ${reason}` : `${name}: ${lastFailure.reason}`;
  return new ExitError(exitCode.deployFailed, commandErrors.BMCTL_FAILED({ name, why }));
}

function stateLine({ name, state, reason, progress }: NodeSummary): string {
  if (!progress?.totalBytes) return `${name} is ${state}: ${reason}`;
  return `${name} is ${state}: ${progressText(progress)}`;
}

/** Server-sent events as the HTML standard reads them, as far as the API writes them. */
export function parseEvents(text: string): { readonly id: string | undefined; readonly events: readonly ApiEvent[] } {
  let id: string | undefined;
  const events: ApiEvent[] = [];
  for (const block of text.split('\n\n')) {
    for (const line of block.split('\n')) {
      if (line.startsWith('id: ')) id = line.slice('id: '.length);
      if (line.startsWith('data: ')) events.push(JSON.parse(line.slice('data: '.length)) as ApiEvent);
    }
  }
  return { id, events };
}
