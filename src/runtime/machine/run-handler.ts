/** One call of a handler: its context, its end when it is interrupted, and its errors as results. */
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { sleep } from '../core/clock.ts';
import { chapSecret, doneToken } from './deploy-key.ts';
import type { Handler, HandlerContext } from './handler.ts';
import type { NodeRecord } from './node-record.ts';
import { isPermanent } from './ports.ts';
import { reasonOf } from './reason-of.ts';
import { type Change, failed, retry, type StepResult } from './results.ts';

export interface RunHandlerOptions extends Pick<HandlerContext, 'ports' | 'settings' | 'clock' | 'random' | 'logger' | 'takenBy'> {
  /** Writes a change down while the machine is ours and in this state; rejects when it is not. */
  readonly report: (change: Change) => Promise<NodeRecord>;
}

/** How long an interrupted handler may take to end before the machine's life goes on without it. */
const ABORT_GRACE_MS = 30_000;

/** Undefined: it was interrupted, and what it would have said does not count. */
export async function runHandler(
  handler: Handler,
  node: NodeRecord,
  signal: AbortSignal,
  options: RunHandlerOptions,
): Promise<StepResult | undefined> {
  const { clock, logger } = options;
  const ended = new AbortController();
  const givenUp = new Promise<undefined>((resolve) => {
    const onAbort = (): void => {
      sleep(clock, ABORT_GRACE_MS, ended.signal).then(
        () => {
          logger.error({ node: node.name, state: node.state, step: node.step }, 'an interrupted handler does not end; going on without it');
          resolve(undefined);
        },
        () => undefined, // it has ended
      );
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([call(handler, node, signal, options), givenUp]);
  } finally {
    ended.abort();
  }
}

async function call(
  handler: Handler,
  node: NodeRecord,
  signal: AbortSignal,
  { report, ...given }: RunHandlerOptions,
): Promise<StepResult | undefined> {
  const seen: Secret[] = [];
  const context: HandlerContext = {
    ...given,
    node,
    signal,
    logger: given.logger.child({ node: node.name, state: node.state }),
    secret: async (name) => {
      const secret = await given.ports.secrets.read(name);
      seen.push(secret);
      return secret;
    },
    report: async (change) => {
      signal.throwIfAborted();
      return report(change);
    },
  };
  try {
    return blotted(await handler(context), seen);
  } catch (error) {
    if (signal.aborted) return undefined;
    const reason = `${node.step === undefined ? '' : `${node.step}: `}${reasonOf(error)}`;
    return blotted(isPermanent(error) ? failed(reason) : retry(reason), seen);
  }
}

/** No reason ever carries a secret that its handler has read, or one derived from it, whatever a driver put into its error. */
function blotted(result: StepResult, seen: readonly Secret[]): StepResult {
  if (!('reason' in result)) return result;
  const values = seen.flatMap((secret) => [secret, doneToken(secret), chapSecret(secret)]).map((secret) => secret.reveal());
  const reason = values.reduce((text, value) => (value === '' ? text : text.replaceAll(value, '***')), result.reason);
  return { ...result, reason };
}
