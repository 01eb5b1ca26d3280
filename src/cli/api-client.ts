/** bms-core's API as bmctl asks it. */
import { CodedError, defineErrors, entry } from 'cdk8s-baremetal-contract';
import { type Clock, type Network, withDeadline } from 'cdk8s-baremetal-runtime/core/index';

export const clientErrors = defineErrors('bmctl', {
  BMCTL_NO_ANSWER: entry<{ url: string; reason: string }>({
    message: ({ url, reason }) => `bms-core does not answer at ${url}: ${reason}`,
    cure: 'Start it (npm run demo -- --keep is one way), or name another address with --api or BMCTL_API',
  }),
  BMCTL_NOT_BMS_CORE: entry<{ url: string; status: number }>({
    message: ({ url, status }) => `what answers at ${url} (status ${status}) is not bms-core`,
    cure: 'Check --api or BMCTL_API',
  }),
});

const ANSWER_LIMIT_MS = 10_000;

export interface ApiClient {
  /** The answer's JSON. Throws what the API says, BMCTL_NO_ANSWER or BMCTL_NOT_BMS_CORE. */
  get(path: string): Promise<unknown>;
}

export function apiClient({
  base,
  network,
  clock,
}: {
  readonly base: string;
  readonly network: Network;
  readonly clock: Clock;
}): ApiClient {
  return {
    async get(path) {
      const url = new URL(path, base).href;
      const late = (): Error => clientErrors.BMCTL_NO_ANSWER({ url, reason: `nothing within ${ANSWER_LIMIT_MS / 1000} s` });
      const answer = await withDeadline(clock, ANSWER_LIMIT_MS, late, (signal) => network.request({ url, signal })).catch(
        (cause: unknown) => {
          throw cause instanceof CodedError
            ? cause
            : clientErrors.BMCTL_NO_ANSWER({ url, reason: cause instanceof Error ? cause.message : String(cause) }, { cause });
        },
      );
      const body = parseJson(answer.body);
      if (answer.status === 200 && body !== undefined) return body;
      const { error } = (body ?? {}) as { error?: { code?: unknown; message?: unknown; cure?: unknown } };
      if (typeof error?.code !== 'string') throw clientErrors.BMCTL_NOT_BMS_CORE({ url, status: answer.status });
      throw new CodedError(error.code, String(error.message), String(error.cure));
    },
  };
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    return undefined;
  }
}
