/** Routes as data: method and path pattern to a function, so that the API is tested without a socket. */
import { CodedError } from 'cdk8s-baremetal-contract';
import type { Logger } from '../core/logger.ts';
import type { HttpHandler, HttpRequest, HttpResponse } from '../core/network.ts';
import { apiErrors } from './errors.ts';

export interface Route {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Segments that begin with ":" match one segment and are handed over by name: /v1/nodes/:node */
  readonly path: string;
  handle(parameters: Readonly<Record<string, string>>, request: HttpRequest): Promise<HttpResponse>;
}

export function json(status: number, body: unknown): HttpResponse {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' },
    body: `${JSON.stringify(body)}\n`,
  };
}

/** An answer that names what is wrong and what to do, as every error of the API does. */
export function problem(status: number, error: CodedError): HttpResponse {
  return json(status, { error: { code: error.code, message: error.message, cure: error.cure } });
}

/** The first route whose pattern fits; 404 and 405 otherwise, 500 for what a handler did not expect. */
export function router(routes: readonly Route[], logger: Logger): HttpHandler {
  const compiled = routes.map((route) => ({ route, segments: route.path.split('/') }));
  return async (request) => {
    const given = request.path.split('/');
    const fitting = compiled.flatMap(({ route, segments }) => {
      const parameters = match(segments, given);
      return parameters ? [{ route, parameters }] : [];
    });
    if (fitting.length === 0) return problem(404, apiErrors.API_NO_ROUTE({ path: request.path }));
    const method = request.method === 'HEAD' ? 'GET' : request.method;
    const found = fitting.find(({ route }) => route.method === method);
    if (!found) {
      const allowed = fitting.map(({ route }) => route.method).join(', ');
      const error = apiErrors.API_METHOD({ path: request.path, method: request.method, allowed });
      return { ...problem(405, error), headers: { 'content-type': 'application/json; charset=utf-8', allow: allowed } };
    }
    try {
      return await found.route.handle(found.parameters, request);
    } catch (error) {
      if (error instanceof CodedError) return problem(400, error);
      logger.error({ path: request.path, error: error instanceof Error ? error.message : String(error) }, 'a request failed');
      return problem(500, apiErrors.API_INTERNAL({}));
    }
  };
}

function match(segments: readonly string[], given: readonly string[]): Record<string, string> | undefined {
  if (segments.length !== given.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    const value = given[index] ?? '';
    if (segment.startsWith(':')) {
      if (value === '') return undefined;
      parameters[segment.slice(1)] = value;
    } else if (segment !== value) return undefined;
  }
  return parameters;
}
