import { openApiDocument } from 'cdk8s-baremetal-contract/api/index';
import type { HttpResponse } from '../../core/network.ts';
import type { HandlersOf } from '../call.ts';
import type { HandlerContext } from './context.ts';

/** Prometheus exposition format, as scrapers ask for it. */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export function daemonHandlers({
  notReady,
  metrics,
  index,
  version,
}: HandlerContext): HandlersOf<'healthz' | 'readyz' | 'metrics' | 'openapi'> {
  return {
    healthz: async () => ({ response: text(200, 'ok') }),
    readyz: async () => {
      const reason = notReady();
      return { response: reason === undefined ? text(200, 'ok') : text(503, reason) };
    },
    metrics: async () => {
      await index.ready();
      return { response: { status: 200, headers: { 'content-type': METRICS_TYPE }, body: await metrics.render() } };
    },
    openapi: async () => ({ answer: openApiDocument(version) as { openapi: string } }),
  };
}

function text(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: `${body}\n` };
}
