/** A real API server through the operator's own client, and namespaces to write in. */
import { randomBytes } from 'node:crypto';
import type { KubeApi } from '../../src/operator/engine/api.ts';
import { clientNodeTransport, loadKubeConfig } from '../../src/operator/engine/client-node-transport.ts';
import { httpApi } from '../../src/operator/engine/http-api.ts';
import { createMetrics, type Metrics } from '../../src/operator/engine/metrics.ts';
import { resourceTypes } from '../../src/operator/engine/resource-types.ts';
import type { Transport, TransportRequest } from '../../src/operator/engine/transport.ts';
import { sleep } from '../../src/runtime/core/clock.ts';
import { nodeClock } from '../../src/runtime/core/node-clock.ts';

export interface RealApi {
  readonly api: KubeApi;
  /** Breaks what is under way and refuses what comes, as a network does that is gone; `false` heals it. */
  cutOff(cut: boolean): void;
  readonly metrics: Metrics;
  /** Requests that write, as METHOD path. */
  readonly writes: string[];
  readonly requests: TransportRequest[];
  namespace(): Promise<string>;
  close(): Promise<void>;
}

/** The server that KUBECONFIG or `kubeconfig` names. Namespaces made here are deleted at the end. */
export function realApi(kubeconfig?: string): RealApi {
  const inner = clientNodeTransport(loadKubeConfig(kubeconfig === undefined ? {} : { file: kubeconfig }), nodeClock);
  const writes: string[] = [];
  const requests: TransportRequest[] = [];
  let gate = new AbortController();
  const transport: Transport = {
    exchange: async (request) => {
      requests.push(request);
      if (request.method !== 'GET') writes.push(`${request.method} ${request.path}`);
      gate.signal.throwIfAborted();
      return inner.exchange({ ...request, signal: AbortSignal.any([request.signal, gate.signal]) });
    },
    close: () => inner.close(),
  };
  const metrics = createMetrics();
  const api = httpApi({ transport, clock: nodeClock, metrics, throttle: { perSecond: 500, burst: 500 } });
  const namespaces: string[] = [];
  return {
    api,
    cutOff: (cut) => {
      if (cut) gate.abort(new Error('connect EHOSTUNREACH'));
      else gate = new AbortController();
    },
    metrics,
    writes,
    requests,
    namespace: async () => {
      const name = `bms-operator-${randomBytes(4).toString('hex')}`;
      await api.create(resourceTypes.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
      namespaces.push(name);
      return name;
    },
    close: async () => {
      await Promise.all(namespaces.map((name) => api.delete(resourceTypes.namespaces, { name }).catch(() => undefined)));
      await transport.close();
    },
  };
}

/** Asks until `condition` gives something; fails with what it said last. */
export async function eventually<T>(condition: () => T | Promise<T>, what: string, limitMs = 20_000): Promise<NonNullable<T>> {
  const until = nodeClock.monotonic() + limitMs;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (nodeClock.monotonic() > until) throw new Error(`not within ${limitMs / 1000} s: ${what}`);
    await sleep(nodeClock, 50);
  }
}
