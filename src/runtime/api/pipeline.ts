/** From a row of the operations to a route: may the caller, is it well-formed, do it once, answer, count, log. */
import { CodedError } from 'cdk8s-baremetal-contract';
import { type Operation, type OperationId, operations } from 'cdk8s-baremetal-contract/api/index';
import type { z } from 'zod';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { HttpRequest, HttpResponse } from '../core/network.ts';
import { type Random, randomUuid } from '../core/random.ts';
import { versionOf } from './at-version.ts';
import type { Handlers } from './call.ts';
import { apiErrors, Refusal, statusOf } from './errors.ts';
import type { Gate, Principal } from './gate.ts';
import type { IdempotencyKeys } from './idempotency.ts';
import type { MetricsRegistry } from './metrics-registry.ts';
import { json, type Route } from './router.ts';

export interface PipelineOptions {
  readonly gate: Gate;
  readonly keys: IdempotencyKeys;
  readonly metrics: MetricsRegistry;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** The handlers' types differ by operation; what this file does is the same for each of them. */
interface AnyCall {
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: unknown;
  readonly body: unknown;
  readonly principal: Principal;
  readonly requestId: string;
  readonly ifMatch: string | undefined;
  readonly request: HttpRequest;
}
type AnyHandler = (call: AnyCall) => Promise<{
  readonly answer?: unknown;
  readonly etag?: string;
  readonly location?: string;
  readonly response?: HttpResponse;
}>;

export function routesOf(handlers: Handlers, options: PipelineOptions): Route[] {
  return Object.entries<Operation>(operations).map(([id, row]) => {
    const handler = handlers[id as OperationId] as unknown as AnyHandler;
    return {
      method: row.method,
      path: row.path,
      handle: (parameters, request) => serve({ id, row, handler, parameters, request }, options),
    };
  });
}

interface Asked {
  readonly id: string;
  readonly row: Operation;
  readonly handler: AnyHandler;
  readonly parameters: Readonly<Record<string, string>>;
  readonly request: HttpRequest;
}

async function serve(asked: Asked, options: PipelineOptions): Promise<HttpResponse> {
  const { id, row, request } = asked;
  const { metrics, clock, random, logger } = options;
  const began = clock.monotonic();
  const given = request.headers['x-request-id'];
  const requestId = given !== undefined && /^[\w.-]{1,64}$/.test(given) ? given : randomUuid(random);
  let caller: Principal | undefined;
  let response: HttpResponse;
  let code: string | undefined;
  try {
    caller = options.gate.admit(request, row.role);
    response = await perform(asked, caller, requestId, options);
  } catch (error) {
    const refusal = refusalOf(error);
    code = refusal?.error.code;
    if (refusal === undefined || statusOf(refusal.error) >= 500)
      logger.error({ requestId, operation: id, error: error instanceof Error ? error.message : String(error) }, 'a request failed');
    if (caller === undefined) metrics.add('bms_http_refused_total', { reason: code ?? 'API_INTERNAL' });
    response = refusal ? refused(refusal) : refused(new Refusal(apiErrors.API_INTERNAL({ requestId })));
  }
  const durationMs = clock.monotonic() - began;
  metrics.add('bms_http_requests_total', { operation: id, status: String(response.status) });
  metrics.observe('bms_http_request_duration_seconds', { operation: id }, durationMs / 1000);
  const line = {
    requestId,
    operation: id,
    ...asked.parameters,
    by: caller?.name,
    from: request.remote.address,
    status: response.status,
    ...(code !== undefined && { code }),
    durationMs: Math.round(durationMs),
  };
  // Looking is not worth a line; changing and being refused is.
  if (row.method === 'GET' && response.status < 400) logger.debug(line, 'request');
  else logger.info(line, 'request');
  return { ...response, headers: { ...response.headers, 'x-request-id': requestId, 'x-content-type-options': 'nosniff' } };
}

async function perform(asked: Asked, principal: Principal, requestId: string, options: PipelineOptions): Promise<HttpResponse> {
  const { id, row, handler, parameters, request } = asked;
  const call: AnyCall = {
    parameters,
    query: readQuery(row, request),
    body: readBody(row, request),
    principal,
    requestId,
    ifMatch: row.ifMatch ? versionOf(request.headers['if-match']) : undefined,
    request,
  };
  const work = async (): Promise<HttpResponse> => {
    try {
      const { answer, etag, location, response } = await handler(call);
      if (response) return response;
      const headers = { ...(etag !== undefined && { etag }), ...(location !== undefined && { location }) };
      if (row.status === 204 || answer === undefined) return { status: row.status, headers: { 'cache-control': 'no-store', ...headers } };
      const answered = json(row.status, answer);
      return { ...answered, headers: { ...answered.headers, ...headers } };
    } catch (error) {
      const refusal = refusalOf(error);
      // An answer like any other: the same key must get the same refusal.
      if (refusal && statusOf(refusal.error) < 500 && request.headers['idempotency-key'] !== undefined) return refused(refusal);
      throw error;
    }
  };
  const key = request.headers['idempotency-key'];
  if (key === undefined || row.method !== 'POST' || row.role === 'reader' || row.role === 'public') return work();
  const { response, replayed } = await options.keys.once(
    { principal: principal.name, operation: id, path: request.path, key, body: parsed(request) },
    work,
  );
  if (!replayed) return response;
  options.metrics.add('bms_idempotent_replays_total', {});
  return { ...response, headers: { ...response.headers, 'idempotency-replayed': 'true' } };
}

function readQuery(row: Operation, { query }: HttpRequest): unknown {
  const given: Record<string, string> = Object.create(null);
  for (const [name, value] of query) {
    if (name in given) throw new Refusal(apiErrors.API_QUERY({ problems: [`${name} is given twice`] }));
    given[name] = value;
  }
  if (!row.query) {
    const [unknown] = Object.keys(given);
    if (unknown !== undefined) throw new Refusal(apiErrors.API_QUERY({ problems: [`${JSON.stringify(unknown)} is not known`] }));
    return undefined;
  }
  const read = row.query.strict().safeParse({ ...given });
  if (!read.success) throw new Refusal(apiErrors.API_QUERY({ problems: faults(read.error) }));
  return read.data;
}

function readBody(row: Operation, request: HttpRequest): unknown {
  const { body, headers, method, path } = request;
  if (!row.body) {
    if (body.length > 0) throw new Refusal(apiErrors.API_NO_BODY({ method, path }));
    return undefined;
  }
  if (body.length > 0 && !/^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(headers['content-type'] ?? ''))
    throw new Refusal(apiErrors.API_NOT_JSON({ why: `its content-type is ${JSON.stringify(headers['content-type'] ?? '')}` }));
  const value = parsed(request);
  if (value === undefined && !row.bodyOptional) throw new Refusal(apiErrors.API_NOT_JSON({ why: 'it is empty' }));
  const read = row.body.safeParse(value ?? {});
  if (read.success) return read.data;
  const problems = faults(read.error);
  throw new Refusal(apiErrors.API_INVALID({ problems }), {
    details: read.error.issues.slice(0, MOST_FAULTS).map(({ path: where, message }) => ({ what: where.join('.') || 'body', why: message })),
  });
}

function parsed({ body }: HttpRequest): unknown {
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    // the parser's own message quotes the text, which may hold a password
    throw new Refusal(apiErrors.API_NOT_JSON({ why: 'it cannot be read' }));
  }
}

const MOST_FAULTS = 20;

/** Names fields and what they should be; never a value. */
function faults(error: z.ZodError): string[] {
  return error.issues.slice(0, MOST_FAULTS).map(({ path, message }) => `${path.length > 0 ? `${path.join('.')}: ` : ''}${message}`);
}

function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof Refusal) return error;
  return error instanceof CodedError && statusOf(error) !== 500 ? new Refusal(error) : undefined;
}

function refused({ error, extra }: Refusal): HttpResponse {
  const { code, message, cure } = error;
  const answer = json(statusOf(error), { error: { code, message, cure, ...(extra.details && { details: extra.details }) } });
  return { ...answer, headers: { ...answer.headers, ...extra.headers } };
}
