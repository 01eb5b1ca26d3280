/** /healthz, /readyz and /metrics as one function from request to response, for core/network.ts serveHttp. */
import type { HttpHandler, HttpResponse } from 'cdk8s-baremetal-runtime/core/network';
import type { ManagerState } from './manager.ts';
import { METRICS_CONTENT_TYPE, type Metrics } from './metrics.ts';

export interface HealthOptions {
  readonly metrics: Metrics;
  readonly state: () => ManagerState;
}

/**
 * Alive: this answer comes at all. Ready: the informers have their first list (a replica that does not lead is ready, too) and it
 * is not stopping.
 */
export function healthHandler({ metrics, state }: HealthOptions): HttpHandler {
  return async ({ method, path }) => {
    if (method !== 'GET' && method !== 'HEAD') return text(405, 'only GET and HEAD\n', { allow: 'GET, HEAD' });
    switch (path) {
      case '/healthz':
        return text(200, 'ok\n');
      case '/readyz': {
        const { unsynced, stopping, leading } = state();
        if (stopping) return text(503, 'stopping\n');
        if (unsynced.length > 0) return text(503, `waiting for ${unsynced.join(', ')}\n`);
        return text(200, leading ? 'ok, leading\n' : 'ok, standing by\n');
      }
      case '/metrics':
        return { status: 200, headers: { 'content-type': METRICS_CONTENT_TYPE }, body: metrics.render() };
      default:
        return text(404, 'try /healthz, /readyz or /metrics\n');
    }
  };
}

function text(status: number, body: string, headers: Readonly<Record<string, string>> = {}): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8', ...headers }, body };
}
