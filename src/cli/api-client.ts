/** bms-core's API as bmctl asks it: by the rows of the contract, so that paths, bodies and answers are those of the server. */
import { CodedError, defineErrors, entry } from 'cdk8s-baremetal-contract';
import { type AnswerOf, type OperationId, operations, type PathParameters, pathOf } from 'cdk8s-baremetal-contract/api/index';
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { type Clock, type Network, type Random, randomUuid, withDeadline } from 'cdk8s-baremetal-runtime/core/index';
import { ExitError, exitCode, exitCodeOfStatus } from './exit-codes.ts';

interface CertificateFault {
  readonly origin: string;
  readonly reason: string;
}

const unbelieved = ({ origin, reason }: CertificateFault): string =>
  `the certificate that ${origin} shows is not believed, and nothing was sent: ${reason}`;

export const clientErrors = defineErrors('bmctl', {
  BMCTL_API_URL: entry<{ url: string }>({
    message: ({ url }) => `"${url}" is no address of an API`,
    cure: 'Write --api or BMCTL_API as http://127.0.0.1:7081, or https:// with --ca',
  }),
  BMCTL_NO_ANSWER: entry<{ url: string; reason: string }>({
    message: ({ url, reason }) => `bms-core does not answer at ${url}: ${reason}`,
    cure: ({ url, reason }) =>
      `Start it (npm run demo -- --keep is one way), or name another address with --api or BMCTL_API${
        url.startsWith('http:') && reason === 'socket hang up' ? '; where it speaks TLS, https:// with --ca' : ''
      }`,
  }),
  BMCTL_CERTIFICATE: entry<CertificateFault>({
    message: unbelieved,
    cure: 'Give the authority that signed it (of one that signed itself, the certificate) with --ca FILE or BMCTL_CA',
  }),
  BMCTL_CERTIFICATE_TIME: entry<CertificateFault>({
    message: unbelieved,
    cure: 'Renew the file of [api] tls_cert, which bms-core takes over within a minute, without a restart; compare the clocks where it is not over',
  }),
  BMCTL_CERTIFICATE_NAME: entry<CertificateFault>({
    message: unbelieved,
    cure: 'Ask by a name or an address that the certificate carries, or make one that carries this',
  }),
  BMCTL_NO_TLS: entry<{ origin: string }>({
    message: ({ origin }) => `what listens at ${origin} does not speak TLS`,
    cure: 'Write --api or BMCTL_API with http://, or set [api] tls_cert and tls_key of bms-core',
  }),
  BMCTL_CA: entry<{ path: string }>({
    message: ({ path }) => `${path} holds no certificate in PEM`,
    cure: 'Give --ca or BMCTL_CA the file of the authority that signed the certificate of the API; of a certificate that signed itself, that certificate',
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
      throw notReached(url, cause);
    });
    const text = Buffer.from(answer.body).toString('utf8');
    if (answer.status < 300) return text;
    const { error } = (parseJson(text) ?? {}) as {
      error?: { code?: unknown; message?: unknown; cure?: unknown; details?: ExitError['details'] };
    };
    if (typeof error?.code !== 'string') {
      const stranger = clientErrors.BMCTL_NOT_BMS_CORE({ url: url.href, status: answer.status });
      throw new ExitError(exitCode.noAnswer, stranger, [], answer.status);
    }
    const refusal = new CodedError(error.code, String(error.message), String(error.cure));
    throw new ExitError(exitCodeOfStatus(answer.status), refusal, error.details, answer.status);
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

/** Whether it is worth asking again: nobody answered, or somebody who said that it is not possible now. */
export function isPassing(error: unknown): boolean {
  if (error instanceof ExitError) return error.status !== undefined && PASSING.has(error.status);
  return error instanceof CodedError && error.code === 'BMCTL_NO_ANSWER';
}

/** Not now; and what a proxy says while who is behind it starts again. */
const PASSING: ReadonlySet<number> = new Set([502, 503, 504]);

/** Codes of OpenSSL's X509_V_ERR_*, as Node names them, that a person has to tell apart. */
const certificateFaults: Readonly<Record<string, 'BMCTL_CERTIFICATE_TIME' | 'BMCTL_CERTIFICATE_NAME'>> = {
  CERT_HAS_EXPIRED: 'BMCTL_CERTIFICATE_TIME',
  CERT_NOT_YET_VALID: 'BMCTL_CERTIFICATE_TIME',
  ERR_TLS_CERT_ALTNAME_INVALID: 'BMCTL_CERTIFICATE_NAME',
};

function notReached(url: URL, cause: unknown): CodedError {
  const reason = (cause instanceof Error ? cause.message : String(cause)).replace(/\s+/g, ' ').trim();
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  if (url.protocol === 'https:' && reason.includes('does not speak TLS'))
    return clientErrors.BMCTL_NO_TLS({ origin: url.origin }, { cause });
  if (/^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_CERT_|INVALID_CA|PATH_LENGTH)/.test(code))
    return clientErrors[certificateFaults[code] ?? 'BMCTL_CERTIFICATE'](
      { origin: url.origin, reason: reason.replace(/; if the root CA.*$/, '') },
      { cause },
    );
  return clientErrors.BMCTL_NO_ANSWER({ url: url.href, reason }, { cause });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
