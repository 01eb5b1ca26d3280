/** The KubeApi over HTTP: verbs, paths, patch types, paging, deadlines, throttling, and errors as they come back. */
import { type Clock, sleep, withDeadline } from 'cdk8s-baremetal-runtime/core/clock';
import {
  type ApplyOptions,
  type DeleteOptions,
  FIELD_MANAGER,
  type KubeApi,
  type ObjectList,
  type Selection,
  type WatchEvent,
  type WatchOptions,
  type WriteOptions,
} from './api.ts';
import { ApiError, isApiError, statusError } from './api-error.ts';
import { jsonLines } from './json-lines.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import type { KubeObject, LiveObject, ObjectKey, ResourceType } from './objects.ts';
import { pathOf } from './resource-types.ts';
import { TokenBucket, type TokenBucketOptions } from './token-bucket.ts';
import type { Transport, TransportRequest, TransportResponse } from './transport.ts';

export interface HttpApiOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly metrics?: Metrics;
  /** Default 50 a second, 100 at once. */
  readonly throttle?: TokenBucketOptions;
  /** Limit of one exchange other than a watch, waiting for a token not counted. Default 30,000. */
  readonly timeoutMs?: number;
  readonly userAgent?: string;
}

/** The API server's own paging in kubectl and client-go. */
const PAGE_SIZE = 500;

/** How often a request is repeated because the server asked for it (429 or 503 with Retry-After), and the longest pause accepted. */
const MAX_RETRIES = 4;
const MAX_RETRY_PAUSE_MS = 30_000;

/** The server ends a watch by itself; this much later the connection counts as dead. */
const WATCH_GRACE_MS = 15_000;

interface Exchange {
  readonly verb: string;
  readonly type: ResourceType;
  readonly method: TransportRequest['method'];
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal | undefined;
  readonly mayWrite?: (() => void) | undefined;
}

export function httpApi({
  transport,
  clock,
  metrics = createMetrics(),
  throttle,
  timeoutMs = 30_000,
  userAgent = FIELD_MANAGER,
}: HttpApiOptions): KubeApi {
  const bucket = new TokenBucket(clock, throttle ?? { perSecond: 50, burst: 100 });
  const requests = metrics.counter('operator_api_requests_total', 'Requests to the API server by verb, kind and status.');
  const duration = metrics.histogram('operator_api_request_seconds', 'Time of a request to the API server, watches excepted.');
  const throttled = metrics.histogram('operator_api_throttle_seconds', 'Time that requests waited for the client-side limit.');

  /** One exchange up to the headers. */
  async function open(exchange: Exchange, signal: AbortSignal): Promise<TransportResponse> {
    const { verb, type, method, path, query = {}, body, contentType = 'application/json' } = exchange;
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
    const count = (status: string): void => requests.inc({ verb, kind: type.kind, status });
    try {
      const response = await transport.exchange({
        method,
        path: search.size > 0 ? `${path}?${search}` : path,
        headers: { accept: 'application/json', 'user-agent': userAgent, ...(body !== undefined && { 'content-type': contentType }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal,
      });
      count(String(response.status));
      return response;
    } catch (error) {
      count(signal.aborted ? 'aborted' : 'no-answer');
      throw error;
    }
  }

  async function once(exchange: Exchange): Promise<unknown> {
    throttled.observe((await bucket.take(exchange.signal)) / 1000);
    exchange.mayWrite?.();
    const startedAt = clock.monotonic();
    const tooSlow = (): Error => new ApiError('timeout', `no answer to ${exchange.method} ${exchange.path} within ${timeoutMs / 1000} s`);
    try {
      return await withDeadline(
        clock,
        timeoutMs,
        tooSlow,
        async (signal) => {
          const response = await open(exchange, signal);
          const text = await readText(response);
          if (response.status >= 300) throw statusError(response.status, parseOr(text, undefined), retryAfterMs(response));
          return parse(text, exchange);
        },
        exchange.signal,
      );
    } catch (error) {
      exchange.signal?.throwIfAborted();
      throw toApiError(error, exchange);
    } finally {
      duration.observe((clock.monotonic() - startedAt) / 1000, { verb: exchange.verb });
    }
  }

  async function send(exchange: Exchange): Promise<unknown> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await once(exchange);
      } catch (error) {
        if (!isApiError(error, 'throttled', 'server') || error.retryAfterMs === undefined || attempt >= MAX_RETRIES) throw error;
        if (error.retryAfterMs > MAX_RETRY_PAUSE_MS) throw error;
        await sleep(clock, error.retryAfterMs, exchange.signal);
      }
    }
  }

  /** The API answers with the object; anything else is not the API. */
  const sendObject = async (exchange: Exchange): Promise<LiveObject> => {
    const answer = (await send(exchange)) as Partial<LiveObject> | null;
    if (answer?.metadata?.resourceVersion === undefined) {
      throw new ApiError('protocol', `the answer to ${exchange.method} ${exchange.path} is not an object`);
    }
    return answer as LiveObject;
  };

  async function list(type: ResourceType, selection: Selection = {}): Promise<ObjectList> {
    const page = async (
      continuation?: string,
    ): Promise<{ metadata: { resourceVersion: string; continue?: string }; items: LiveObject[] | null }> =>
      (await send({
        verb: 'list',
        type,
        method: 'GET',
        path: pathOf(type, selection),
        query: { ...selectors(selection), limit: PAGE_SIZE, continue: continuation },
        signal: selection.signal,
      })) as { metadata: { resourceVersion: string; continue?: string }; items: LiveObject[] | null };
    for (let restarts = 0; ; restarts++) {
      try {
        const items: LiveObject[] = [];
        for (let next: string | undefined; ; ) {
          const { metadata, items: found } = await page(next);
          // members of a typed list carry neither kind nor apiVersion
          for (const item of found ?? []) items.push({ ...item, apiVersion: type.apiVersion, kind: type.kind });
          next = metadata.continue;
          if (!next) return { resourceVersion: metadata.resourceVersion, items };
        }
      } catch (error) {
        if (!isApiError(error, 'gone') || restarts >= 2) throw error; // compacted between two pages: from the start
      }
    }
  }

  async function* watch(type: ResourceType, options: WatchOptions): AsyncGenerator<WatchEvent, void> {
    const { resourceVersion, timeoutSeconds, signal } = options;
    const controller = new AbortController();
    const stop = (): void => controller.abort(signal?.reason);
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
    const silence = new ApiError('timeout', `the watch of ${type.plural} did not end after ${timeoutSeconds} s`);
    const exchange: Exchange = {
      verb: 'watch',
      type,
      method: 'GET',
      path: pathOf(type, options),
      query: { ...selectors(options), watch: true, allowWatchBookmarks: true, resourceVersion, timeoutSeconds },
      signal,
    };
    throttled.observe((await bucket.take(signal)) / 1000);
    const watchdog = clock.after(timeoutSeconds * 1000 + WATCH_GRACE_MS, () => controller.abort(silence));
    try {
      const response = await open(exchange, controller.signal);
      if (response.status >= 300) throw statusError(response.status, parseOr(await readText(response), undefined), retryAfterMs(response));
      for await (const line of jsonLines(response.body)) yield watchEvent(line, type);
    } catch (error) {
      signal?.throwIfAborted();
      throw toApiError(error, exchange);
    } finally {
      watchdog.cancel();
      signal?.removeEventListener('abort', stop);
      controller.abort(); // the consumer left: the connection is free
    }
  }

  return {
    get: (type, key, { signal } = {}) => sendObject({ verb: 'get', type, method: 'GET', path: pathOf(type, key), signal }),
    list,
    watch,
    create: (type, object, { fieldManager = FIELD_MANAGER, signal, mayWrite }: WriteOptions = {}) => {
      const { namespace } = object.metadata;
      const path = pathOf(type, namespace === undefined ? {} : { namespace });
      return sendObject({ verb: 'create', type, method: 'POST', path, query: { fieldManager }, body: object, signal, mayWrite });
    },
    replace: (type, object, { fieldManager = FIELD_MANAGER, subresource, signal, mayWrite }: WriteOptions = {}) =>
      sendObject({
        verb: 'update',
        type,
        method: 'PUT',
        path: pathOf(type, object.metadata, subresource),
        query: { fieldManager },
        body: object,
        signal,
        mayWrite,
      }),
    patch: (type, key, patch, { fieldManager = FIELD_MANAGER, subresource, signal, mayWrite }: WriteOptions = {}) =>
      sendObject({
        verb: 'patch',
        type,
        method: 'PATCH',
        path: pathOf(type, key, subresource),
        query: { fieldManager },
        body: patch,
        contentType: 'application/merge-patch+json',
        signal,
        mayWrite,
      }),
    apply: (type, object, { fieldManager = FIELD_MANAGER, force, dryRun, subresource, signal, mayWrite }: ApplyOptions = {}) =>
      sendObject({
        verb: 'apply',
        type,
        method: 'PATCH',
        path: pathOf(type, object.metadata, subresource),
        query: { fieldManager, force: force === true ? true : undefined, dryRun: dryRun === true ? 'All' : undefined },
        body: object,
        contentType: 'application/apply-patch+yaml', // JSON is YAML
        signal,
        mayWrite,
      }),
    delete: async (
      type: ResourceType,
      key: ObjectKey,
      { propagation = 'Background', uid, resourceVersion, signal, mayWrite }: DeleteOptions = {},
    ) => {
      const preconditions = { ...(uid !== undefined && { uid }), ...(resourceVersion !== undefined && { resourceVersion }) };
      const body = {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        propagationPolicy: propagation,
        ...(Object.keys(preconditions).length > 0 && { preconditions }),
      };
      await send({ verb: 'delete', type, method: 'DELETE', path: pathOf(type, key), body, signal, mayWrite });
    },
  };
}

function selectors({ labelSelector, fieldSelector }: Selection): Record<string, string | undefined> {
  return { labelSelector, fieldSelector };
}

function watchEvent(line: unknown, type: ResourceType): WatchEvent {
  const { type: what, object } = line as { type?: unknown; object?: KubeObject };
  switch (what) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { type: what, object: object as LiveObject };
    case 'BOOKMARK': {
      const resourceVersion = object?.metadata.resourceVersion;
      if (resourceVersion === undefined) throw new ApiError('protocol', 'a bookmark without a resourceVersion');
      return { type: what, resourceVersion };
    }
    case 'ERROR': {
      const code = (object as { code?: unknown } | undefined)?.code;
      throw statusError(typeof code === 'number' ? code : 500, object);
    }
    default:
      throw new ApiError('protocol', `the watch of ${type.plural} sent an event of type ${String(what)}`);
  }
}

async function readText({ body }: TransportResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text: string, { method, path }: Exchange): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ApiError('protocol', `the answer to ${method} ${path} is not JSON`, { cause: error });
  }
}

function parseOr<T>(text: string, otherwise: T): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return otherwise; // a proxy's error page
  }
}

/** Seconds only: the API server sends no dates. */
function retryAfterMs({ headers }: TransportResponse): number | undefined {
  const seconds = Number(headers['retry-after'] ?? Number.NaN);
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined;
}

function toApiError(error: unknown, { method, path }: Exchange): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof SyntaxError || error instanceof RangeError) {
    return new ApiError('protocol', `${method} ${path}: ${error.message}`, { cause: error });
  }
  return new ApiError('network', `${method} ${path}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}
