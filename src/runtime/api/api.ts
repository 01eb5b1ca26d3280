/** bms-core's HTTP API on server_port: machines, their timelines, and why they boot what they boot. Read only in this form. */
import { defineErrors, entry } from 'cdk8s-baremetal-contract';
import type { BootLease, BootMachines, BootSettings } from '../boot/index.ts';
import { normalizeMac } from '../boot/index.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { HttpHandler, HttpResponse } from '../core/network.ts';
import { findNodeByMac, findNodeByNumber, type NodeRecord, nodeKind, reservationKind } from '../machine/index.ts';
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
          // one record that cannot be read must not hide the others
          const onInvalid = (id: string, error: unknown): void =>
            logger.error({ node: id, error: String(error) }, 'the record cannot be read');
          const nodes = (await store.list(nodeKind, { onInvalid })).map(({ value }) => nodeSummary(value));
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
        path: '/v1/explain/:machine',
        handle: async ({ machine: key = '' }) => {
          const known = await findNode(store, key);
          const asked = normalizeMac(key);
          const macs = known?.value.interfaces.map((boot) => boot.mac) ?? [];
          const mac = asked !== undefined && (!known || macs.includes(asked)) ? asked : macs[0];
          // no name has a colon in it
          if (mac === undefined)
            return key.includes(':')
              ? problem(400, apiErrors.API_BAD_MAC({ mac: key }))
              : problem(404, apiErrors.API_NO_NODE({ node: key }));
          const machine = await machines.findMachine(mac).catch((error: unknown) => ({ unreadable: error }));
          const given = { mac, node: known?.value, lease: leaseOfMac(mac), settings: bootSettings, nowMs: clock.now() };
          if (machine === undefined || !('unreadable' in machine)) return json(200, explain({ ...given, machine }));
          const error = machine.unreadable instanceof Error ? machine.unreadable.message : String(machine.unreadable);
          return json(200, explain({ ...given, machine: undefined, problem: error }));
        },
      },
    ],
    logger,
  );
}

/** By UUID, number, MAC address or name, in this order: a machine may be called 42 or cafe00000001. */
async function findNode(store: Store, key: string): Promise<Stored<NodeRecord> | undefined> {
  const direct = await store.get(nodeKind, key);
  if (direct) return direct;
  const found = (/^[1-9]\d{0,14}$/.test(key) ? await findNodeByNumber(store, Number(key)) : undefined) ?? (await findNodeByMac(store, key));
  if (found) return found;
  const reserved = await store.get(reservationKind, `name.${key}`);
  const named = reserved && (await store.get(nodeKind, reserved.value.nodeId));
  return named?.value.name === key ? named : undefined;
}

function text(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: `${body}\n` };
}
