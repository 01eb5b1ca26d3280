/** bms-core's API as bmctl asks it: by the rows of the contract, so that paths, bodies and answers are those of the server. */
import { CodedError, defineErrors, entry } from 'cdk8s-baremetal-contract';
import { type AnswerOf, type OperationId, operations, type PathParameters, pathOf } from 'cdk8s-baremetal-contract/api/index';
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { type Clock, type Network, type Random, randomUuid, withDeadline } from 'cdk8s-baremetal-runtime/core/index';
import { ExitError, exitCode, exitCodeOfStatus } from './exit-codes.ts';

export const clientErrors = defineErrors('bmctl', {
  BMCTL_API_URL: entry<{ url: string }>({
    message: ({ url }) => `"${url}" is no address of an API`,
    cure: 'Write --api or BMCTL_API as http://127.0.0.1:7081, or https:// with --ca',
  }),
  BMCTL_NO_ANSWER: entry<{ url: string; reason: string }>({
    message: ({ url, reason }) => `bms-core does not answer at ${url}: ${reason}`,
    cure: 'Start it (npm run demo -- --keep is one way), or name another address with --api or BMCTL_API',
  }),
  BMCTL_NOT_BMS_CORE: entry<{ url: string; status: number }>({
    message: ({ url, status }) => `what answers at ${url} (status ${status}) is not bms-core`,
    cure: 'Check --api or BMCTL_API',
  }),
});

/** Registering an image reads it whole. */
const ANSWER_LIMIT_MS = 600_000;

export interface ApiClientOptions {
  readonly base: string;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly token?: Secret;
  /** PEM of the authorities to trust, for https. */
  readonly ca?: string;
}

export interface AskOptions {
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface ApiClient {
  /** The answer's JSON. Throws an ExitError with what the API says, BMCTL_NO_ANSWER or BMCTL_NOT_BMS_CORE. */
  ask<Id extends OperationId>(operation: Id, parameters: PathParameters<Id>, options?: AskOptions): Promise<AnswerOf<Id>>;
  /** The answer's text, as of an event stream that ends. */
  text(operation: OperationId, options?: AskOptions): Promise<string>;
}

export function apiClient({ base, network, clock, random, token, ca }: ApiClientOptions): ApiClient {
  if (!/^https?:$/.test(URL.parse(base)?.protocol ?? '')) throw new ExitError(exitCode.usage, clientErrors.BMCTL_API_URL({ url: base }));
  const send = async (method: string, path: string, { query = {}, body, headers, signal }: AskOptions): Promise<string> => {
    const url = new URL(path, base);
    for (const [name, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(name, String(value));
    const late = (): Error => clientErrors.BMCTL_NO_ANSWER({ url: url.href, reason: `nothing within ${ANSWER_LIMIT_MS / 1000} s` });
    const request = {
      method,
      url: url.href,
      headers: {
        ...(token && { authorization: `Bearer ${token.reveal()}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        // a POST whose answer was lost may be sent again by whoever retries below us
        ...(method === 'POST' && { 'idempotency-key': randomUuid(random) }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(ca !== undefined && { ca }),
      maxBodyBytes: 256 * 1024 * 1024,
    };
    const answer = await withDeadline(
      clock,
      ANSWER_LIMIT_MS,
      late,
      (limit) => network.request({ ...request, signal: limit }),
      signal,
    ).catch((cause: unknown) => {
      if (signal?.aborted || cause instanceof CodedError) throw cause;
      throw clientErrors.BMCTL_NO_ANSWER({ url: url.href, reason: cause instanceof Error ? cause.message : String(cause) }, { cause });
    });
    const text = Buffer.from(answer.body).toString('utf8');
    if (answer.status < 300) return text;
    const { error } = (parseJson(text) ?? {}) as {
      error?: { code?: unknown; message?: unknown; cure?: unknown; details?: ExitError['details'] };
    };
    if (typeof error?.code !== 'string') throw clientErrors.BMCTL_NOT_BMS_CORE({ url: url.href, status: answer.status });
    const refusal = new CodedError(error.code, String(error.message), String(error.cure));
    throw new ExitError(exitCodeOfStatus(answer.status), refusal, error.details);
  };
  return {
    async ask<Id extends OperationId>(operation: Id, parameters: PathParameters<Id>, options: AskOptions = {}): Promise<AnswerOf<Id>> {
      const { method } = operations[operation];
      const path = pathOf(operation, parameters);
      const text = await send(method, path, options);
      const json = text.trim() === '' ? undefined : parseJson(text);
      if (json === undefined && text.trim() !== '') throw clientErrors.BMCTL_NOT_BMS_CORE({ url: new URL(path, base).href, status: 200 });
      // not parsed by the schema: a newer server may say more, and what it says is only shown
      return json as AnswerOf<Id>;
    },
    text: (operation, options = {}) => send(operations[operation].method, operations[operation].path, options),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
