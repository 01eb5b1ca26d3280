/** BMCs: how it stands with them, and "try again". */
import { isoTime } from '../../core/iso-time.ts';
import type { BmcStatus } from '../../power/index.ts';
import type { HandlersOf } from '../call.ts';
import { apiErrors, Refusal } from '../errors.ts';
import { nodeOf } from '../find-node.ts';
import type { HandlerContext } from './context.ts';

/** The gateway to the BMCs, as the API sees it. */
export interface BmcDesk {
  statuses(): readonly BmcStatus[];
  retry(bmc: string): Promise<void>;
}

const IPMI_PORT = 623;
const REDFISH_PORT = 443;

export function bmcHandlers({ bmcs, index, store }: HandlerContext): HandlersOf<'listBmcs' | 'retryBmc'> {
  return {
    listBmcs: async () => {
      await index.ready();
      const names = new Map<string, string[]>();
      for (const { summary } of index.list()) {
        const bmc = endpointOf(summary.bmc);
        names.set(bmc, [...(names.get(bmc) ?? []), summary.name]);
      }
      const answer = (bmcs?.statuses() ?? []).map((status) => ({
        bmc: status.bmc,
        nodes: names.get(status.bmc) ?? [],
        user: status.user,
        state: status.state,
        session: status.session,
        waiting: status.waiting,
        ...(status.cipherSuite !== undefined && { cipherSuite: status.cipherSuite }),
        ...(status.answeredAtMs !== undefined && { answeredAt: isoTime(status.answeredAtMs) }),
        ...(status.probeAtMs !== undefined && { probeAt: isoTime(status.probeAtMs) }),
        ...(status.lastError && {
          lastError: { code: status.lastError.code, message: status.lastError.message, at: isoTime(status.lastError.atMs) },
        }),
      }));
      return { answer: { bmcs: answer } };
    },
    retryBmc: async ({ parameters }) => {
      const { name, bmc } = (await nodeOf(store, parameters.node)).value;
      if (bmc.driver === 'none') throw new Refusal(apiErrors.API_REFUSED({ reason: `nobody has said where the BMC of ${name} is` }));
      const endpoint = endpointOf(
        `${bmc.driver}://${bmc.address.includes(':') ? `[${bmc.address}]` : bmc.address}:${bmc.port ?? IPMI_PORT}`,
      );
      if (bmc.driver === 'ipmi') await bmcs?.retry(endpoint);
      if (bmc.driver === 'redfish') await bmcs?.retry(redfishEndpoint(bmc));
      return { answer: { bmc: endpoint } };
    },
  };
}

/** As the power plane calls a Redfish service. */
function redfishEndpoint({ address, port }: { readonly address: string; readonly port?: number | undefined }): string {
  if (address.includes('://')) {
    const { hostname, port: written } = new URL(address);
    return `${hostname}:${written || REDFISH_PORT}`;
  }
  return `${address.includes(':') ? `[${address}]` : address}:${port ?? REDFISH_PORT}`;
}

/** `ipmi://10.0.0.1` → `10.0.0.1:623`, as the gateway calls it. */
function endpointOf(text: string): string {
  const rest = text.replace(/^ipmi:\/\//, '');
  if (rest.startsWith('[')) return rest;
  if (rest.split(':').length > 2) return `[${rest}]:${IPMI_PORT}`; // bare IPv6
  return rest.includes(':') ? rest : `${rest}:${IPMI_PORT}`;
}
