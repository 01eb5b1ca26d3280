/** bms-core's HTTP API on server_port: machines, their timelines, and why they boot what they boot. Read only in this form. */
import { defineErrors, entry } from 'cdk8s-baremetal-contract';
import type { BootLease, BootMachines, BootSettings } from '../boot/index.ts';
import { normalizeMac } from '../boot/index.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { HttpHandler, HttpResponse } from '../core/network.ts';
import { findNodeByMac, findNodeByNumber, type NodeRecord, nodeKind } from '../machine/index.ts';
import type { Store, Stored } from '../store/index.ts';
import { explain } from './explain.ts';
import { nodeDetail, nodeSummary, nodeTimeline } from './node-view.ts';
import { json, problem, router } from './router.ts';

export const apiErrors = defineErrors('The API', {
  API_NO_NODE: entry<{ node: string }>({
    message: ({ node }) => `there is no machine ${node}`,
    cure: 'bmctl node list shows those that are enrolled; name, UUID, number and MAC address are all understood',
  }),
  API_BAD_MAC: entry<{ mac: string }>({
    message: ({ mac }) => `${JSON.stringify(mac)} is no MAC address`,
    cure: 'Write it as 52:54:00:12:34:56',
  }),
});

export interface ApiOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly machines: BootMachines;
  readonly bootSettings: BootSettings;
  /** The lease of an interface, when the DHCP service knows one. */
  readonly leaseOfMac: (mac: string) => BootLease | undefined;
  /** Undefined: ready. Otherwise why not. */
  readonly notReady: () => string | undefined;
}

export function api(options: ApiOptions): HttpHandler {
  const { store, clock, logger, machines, bootSettings, leaseOfMac, notReady } = options;
  const withNode = async (key: string, show: (node: NodeRecord) => unknown): Promise<HttpResponse> => {
    const record = await findNode(store, key);
    return record ? json(200, show(record.value)) : problem(404, apiErrors.API_NO_NODE({ node: key }));
  };
  return router(
    [
      { method: 'GET', path: '/healthz', handle: async () => text(200, 'ok') },
      {
        method: 'GET',
        path: '/readyz',
        handle: async () => {
          const reason = notReady();
          return reason === undefined ? text(200, 'ok') : text(503, reason);
        },
      },
      {
        method: 'GET',
        path: '/v1/nodes',
        handle: async () => {
          const nodes = (await store.list(nodeKind)).map(({ value }) => nodeSummary(value));
          return json(200, { nodes: nodes.sort((a, b) => a.number - b.number) });
        },
      },
      { method: 'GET', path: '/v1/nodes/:node', handle: ({ node = '' }) => withNode(node, nodeDetail) },
      {
        method: 'GET',
        path: '/v1/nodes/:node/timeline',
        handle: ({ node = '' }) => withNode(node, (value) => ({ name: value.name, timeline: nodeTimeline(value) })),
      },
      {
        method: 'GET',
        path: '/v1/explain/:mac',
        handle: async ({ mac: given = '' }) => {
          const mac = normalizeMac(given);
          if (mac === undefined) return problem(400, apiErrors.API_BAD_MAC({ mac: given }));
          const [node, machine] = await Promise.all([findNodeByMac(store, mac), machines.findMachine(mac)]);
          return json(
            200,
            explain({ mac, node: node?.value, machine, lease: leaseOfMac(mac), settings: bootSettings, nowMs: clock.now() }),
          );
        },
      },
    ],
    logger,
  );
}

/** By UUID, number, MAC address or name. */
async function findNode(store: Store, key: string): Promise<Stored<NodeRecord> | undefined> {
  const direct = await store.get(nodeKind, key);
  if (direct) return direct;
  if (/^\d{1,15}$/.test(key)) return findNodeByNumber(store, Number(key));
  if (normalizeMac(key) !== undefined) return findNodeByMac(store, key);
  return (await store.list(nodeKind)).find(({ value }) => value.name === key);
}

function text(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: `${body}\n` };
}
