/**
 * Requests to the API server for the BmsRecords of one namespace. Trouble that passes (a connection that breaks, a server that restarts or is
 * overloaded, a definition that is not served yet) is waited out by sending again; for a write it is told whether an earlier sending may have been
 * carried out, since then a 409 may be our own doing.
 */
import { CodedError } from 'cdk8s-baremetal-contract';
import { bmsRecord, type RECORD_VERBS } from 'cdk8s-baremetal-contract/crd/index';
import { type Clock, sleep, withDeadline } from '../../core/clock.ts';
import type { HttpClientStream, Network } from '../../core/network.ts';
import { type Random, randomInt } from '../../core/random.ts';
import { storeErrors } from '../errors.ts';
import { kubernetesStoreErrors } from './errors.ts';
import { fieldsOf } from './record-object.ts';
import type { ApiAccess } from './service-account.ts';

export interface RecordsApiOptions {
  readonly access: ApiAccess;
  readonly namespace: string;
  /** What is spoken of. @default BmsRecords */
  readonly resource?: { readonly apiVersion: string; readonly plural: string };
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  /** How long trouble is waited out. Default 30,000. */
  readonly patienceMs?: number;
  /** How long one answer may take. Default 10,000, and 60,000 for a list. */
  readonly answerMs?: number;
}

export type Verb = (typeof RECORD_VERBS)[number];

export interface Call {
  readonly verb: Verb;
  readonly name?: string;
  readonly subresource?: 'status';
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** What a write is about, for errors. */
  readonly written?: { readonly kind: string; readonly id: string };
}

export interface Answer {
  /** 200 and 201; 404: no such object; 409: the object is there, or is another than the one that was meant; 410: what was asked for is forgotten. */
  readonly status: 200 | 201 | 404 | 409 | 410;
  readonly object: unknown;
  /** An earlier sending got no answer, and may have been carried out. */
  readonly uncertain: boolean;
}

/** Less than etcd's 1.5 MiB by what the API server adds to an object. */
const LARGEST_OBJECT_BYTES = 1.5 * 1024 * 1024 - 16 * 1024;

const METHOD = { get: 'GET', list: 'GET', watch: 'GET', create: 'POST', update: 'PUT', delete: 'DELETE' } as const;
const PAGE = 500;
const LIST_MS = 60_000;
const LARGEST_LIST_BYTES = 512 * 1024 * 1024;
const FIRST_DELAY_MS = 50;
const LONGEST_DELAY_MS = 3_000;
const NOT_SENT = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN', 'ENETDOWN']);

/** May pass. */
class Trouble extends Error {
  constructor(
    reason: string,
    /** Whether what was sent may have been carried out. */
    readonly uncertain: boolean,
    readonly options: { readonly cause?: unknown; readonly afterMs?: number; readonly final?: CodedError } = {},
  ) {
    super(reason, { cause: options.cause });
  }
}

export class RecordsApi {
  readonly #options: Required<RecordsApiOptions>;
  readonly #closing = new AbortController();

  constructor(options: RecordsApiOptions) {
    this.#options = { patienceMs: 30_000, answerMs: 10_000, resource: bmsRecord, ...options };
  }

  get signal(): AbortSignal {
    return this.#closing.signal;
  }

  /** @throws CodedError when the answer is none that `Answer` knows, or when there has been none for too long */
  async call(call: Call): Promise<Answer> {
    const { clock, patienceMs } = this.#options;
    if (call.body !== undefined && call.written !== undefined) this.#checkSize(call.body, call.written);
    const end = clock.monotonic() + patienceMs;
    let uncertain = false;
    let refused = false;
    for (let delayMs = 0; ; delayMs = Math.min(Math.max(delayMs * 2, FIRST_DELAY_MS), LONGEST_DELAY_MS)) {
      this.#closing.signal.throwIfAborted();
      try {
        const { status, object } = await this.#once(call, refused);
        if (status === 401 && !refused) {
          refused = true;
          continue;
        }
        return { ...this.#judge(call, status, object), uncertain };
      } catch (error) {
        this.#closing.signal.throwIfAborted();
        if (!(error instanceof Trouble)) throw error;
        uncertain ||= error.uncertain && call.written !== undefined;
        const pauseMs = Math.max(delayMs, error.options.afterMs ?? 0);
        if (clock.monotonic() + pauseMs > end) throw this.#givenUp(call, error, uncertain);
        // the first time at once: mostly the server closed a connection that had been left open
        if (pauseMs > 0) await sleep(clock, pauseMs + randomInt(this.#options.random, Math.ceil(pauseMs / 2)), this.#closing.signal);
      }
    }
  }

  /** All objects that the labels select, and the revision that they are of. */
  async list(labelSelector: string): Promise<{ readonly items: readonly unknown[]; readonly resourceVersion: string }> {
    const items: unknown[] = [];
    for (let page: string | undefined, whole = false; ; ) {
      const query = { labelSelector, ...(!whole && { limit: `${PAGE}` }), ...(page !== undefined && { continue: page }) };
      const { status, object } = await this.call({ verb: 'list', query });
      if (status === 410) {
        // The pages' common revision is compacted (after some 5 minutes). The rest would be of another one: again from the start, in one piece.
        items.length = 0;
        page = undefined;
        whole = true;
        continue;
      }
      const answer = fieldsOf(object);
      const { resourceVersion, continue: next } = fieldsOf(answer.metadata);
      if (!Array.isArray(answer.items) || typeof resourceVersion !== 'string' || !/^\d{1,19}$/.test(resourceVersion))
        throw kubernetesStoreErrors.STORE_KUBERNETES_REFUSED({ what: 'list', status, reason: 'it is no list of objects' });
      for (const item of answer.items) items.push(item);
      if (typeof next !== 'string' || next === '') return { items, resourceVersion };
      page = next;
    }
  }

  /** The head of a watch; 200 or 410, everything else throws. Sent once: who watches has a pause of its own. */
  async watch(query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<HttpClientStream & { readonly status: 200 | 410 }> {
    const { network, clock, answerMs, access } = this.#options;
    const open = (refused: boolean): Promise<HttpClientStream> => {
      const tooLate = (): Error => new Error(`nothing within ${answerMs / 1000} s`);
      const { token, ca } = access.credentials(refused);
      const url = this.#url({ verb: 'watch', query });
      // not the deadline's own signal: the stream lives on after its head
      const request = { url, ca, signal, headers: { authorization: `Bearer ${token}`, accept: 'application/json' } };
      return withDeadline(clock, answerMs, tooLate, () => network.requestStream(request), signal);
    };
    let stream = await open(false);
    if (stream.status === 401) stream = await open(true);
    const { status } = stream;
    if (status === 200) return { ...stream, status };
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream.body) {
      chunks.push(chunk);
      if (chunks.length > 64) break;
    }
    const judged = this.#judge({ verb: 'watch' }, status, parsed(Buffer.concat(chunks)));
    if (judged.status === 410) return { ...stream, status: 410 };
    throw kubernetesStoreErrors.STORE_KUBERNETES_REFUSED({ what: 'watch', status, reason: 'a watch begins with 200' });
  }

  close(): void {
    this.#closing.abort(storeErrors.STORE_CLOSED({ what: 'a call that was under way' }));
  }

  async #once(call: Call, refused: boolean): Promise<{ status: number; object: unknown }> {
    const { network, clock, access } = this.#options;
    const answerMs = call.verb === 'list' ? Math.max(LIST_MS, this.#options.answerMs) : this.#options.answerMs;
    const { token, ca } = access.credentials(refused);
    const writes = call.written !== undefined;
    const tooLate = (): Error => new Trouble(`nothing within ${answerMs / 1000} s`, writes);
    try {
      const { status, headers, body } = await withDeadline(
        clock,
        answerMs,
        tooLate,
        (signal) =>
          network.request({
            method: METHOD[call.verb],
            url: this.#url(call),
            ca,
            keepAlive: true,
            headers: {
              authorization: `Bearer ${token}`,
              accept: 'application/json',
              ...(call.body !== undefined && { 'content-type': 'application/json' }),
            },
            ...(call.body !== undefined && { body: call.body }),
            maxBodyBytes: LARGEST_LIST_BYTES,
            signal,
          }),
        this.#closing.signal,
      );
      const object = parsed(body);
      const reason = reasonOf(status, object);
      if (status === 429 || status === 503) {
        const seconds = Number(headers['retry-after'] ?? 0);
        // a proxy in front of it may answer 503 for a server that has done it
        throw new Trouble(reason, writes && status === 503, { afterMs: Math.min(Number.isFinite(seconds) ? seconds : 0, 5) * 1000 });
      }
      if (status >= 500 && !reason.includes('too large')) throw new Trouble(reason, writes);
      if (status === 404 && isUnserved(object)) {
        const final = kubernetesStoreErrors.STORE_KUBERNETES_CRD_MISSING({ server: access.server });
        throw new Trouble(reason, false, { final }); // just applied, or the server has just started
      }
      return { status, object };
    } catch (error) {
      if (error instanceof Trouble || error instanceof CodedError) throw error;
      const code = error instanceof Error && 'code' in error ? String(error.code) : '';
      throw new Trouble(error instanceof Error ? error.message : String(error), writes && !NOT_SENT.has(code), { cause: error });
    }
  }

  #judge(call: Call, status: number, object: unknown): Pick<Answer, 'status' | 'object'> {
    const { access, namespace } = this.#options;
    const reason = reasonOf(status, object);
    switch (status) {
      case 200:
      case 201:
      case 410:
        return { status, object };
      case 404:
        if (fieldsOf(fieldsOf(object).details).kind === 'namespaces') throw kubernetesStoreErrors.STORE_KUBERNETES_NAMESPACE({ namespace });
        if (isUnserved(object)) throw kubernetesStoreErrors.STORE_KUBERNETES_CRD_MISSING({ server: access.server });
        return { status, object };
      case 409:
        return { status, object };
      case 401:
        throw kubernetesStoreErrors.STORE_KUBERNETES_UNAUTHORIZED({ server: access.server });
      case 403:
        throw kubernetesStoreErrors.STORE_KUBERNETES_FORBIDDEN({ verb: call.verb, namespace, reason });
    }
    if (call.written !== undefined && (status === 413 || (status >= 500 && reason.includes('too large')))) {
      const bytes = Buffer.byteLength(call.body ?? '');
      throw kubernetesStoreErrors.STORE_KUBERNETES_TOO_LARGE({ ...call.written, bytes, limit: LARGEST_OBJECT_BYTES });
    }
    const what = call.written === undefined ? call.verb : `${call.verb} of the ${call.written.kind} ${call.written.id}`;
    throw kubernetesStoreErrors.STORE_KUBERNETES_REFUSED({ what, status, reason });
  }

  #checkSize(body: string, written: { readonly kind: string; readonly id: string }): void {
    const bytes = Buffer.byteLength(body);
    if (bytes > LARGEST_OBJECT_BYTES)
      throw kubernetesStoreErrors.STORE_KUBERNETES_TOO_LARGE({ ...written, bytes, limit: LARGEST_OBJECT_BYTES });
  }

  #givenUp(call: Call, trouble: Trouble, uncertain: boolean): Error {
    const { access, patienceMs } = this.#options;
    const cause = { cause: trouble.options.cause ?? trouble };
    if (trouble.options.final !== undefined) return trouble.options.final;
    if (uncertain && call.written !== undefined)
      return storeErrors.STORE_OUTCOME_UNKNOWN({ path: access.server, ...call.written, reason: trouble.message }, cause);
    const seconds = patienceMs / 1000;
    return kubernetesStoreErrors.STORE_KUBERNETES_UNREACHABLE({ server: access.server, seconds, reason: trouble.message }, cause);
  }

  #url({ name, subresource, query = {} }: Call): string {
    const { access, namespace, resource } = this.#options;
    const collection = `${access.server}/apis/${resource.apiVersion}/namespaces/${encodeURIComponent(namespace)}/${resource.plural}`;
    const parameters = new URLSearchParams(query).toString();
    const object = name === undefined ? '' : `/${encodeURIComponent(name)}${subresource === undefined ? '' : `/${subresource}`}`;
    return `${collection}${object}${parameters === '' ? '' : `?${parameters}`}`;
  }
}

/** Undefined for what is no JSON: a proxy's page, or the plain text of a path that nobody serves. */
function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    return undefined;
  }
}

/** A path of no known kind is answered in plain text, or by a Status without the name of a kind. */
function isUnserved(object: unknown): boolean {
  return fieldsOf(fieldsOf(object).details).kind === undefined;
}

function reasonOf(status: number, object: unknown): string {
  const { message } = fieldsOf(object);
  return typeof message === 'string' && message !== '' ? message.slice(0, 500) : `status ${status}`;
}
