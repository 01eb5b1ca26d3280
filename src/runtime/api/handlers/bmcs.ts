/** BMCs: how it stands with them, and "try again". */
import { isoTime } from '../../core/iso-time.ts';
import { type BmcStatus, bmcName, parsePowerUrl, powerUrlOf } from '../../power/index.ts';
import type { HandlersOf } from '../call.ts';
import { apiErrors, Refusal } from '../errors.ts';
import { nodeOf } from '../find-node.ts';
import type { HandlerContext } from './context.ts';

/** The gateway to the BMCs, as the API sees it. */
export interface BmcDesk {
  statuses(): readonly BmcStatus[];
  retry(bmc: string): Promise<void>;
  /** Of records that name none. @default 623 */
  readonly ipmiPort?: number;
}

const IPMI_PORT = 623;

export function bmcHandlers({ bmcs, index, store }: HandlerContext): HandlersOf<'listBmcs' | 'retryBmc'> {
  const ipmiPort = bmcs?.ipmiPort ?? IPMI_PORT;
  return {
    listBmcs: async () => {
      await index.ready();
      const names = new Map<string, string[]>();
      for (const { summary } of index.list()) {
        const bmc = nameOf(summary.bmc, ipmiPort);
        if (bmc !== undefined) names.set(bmc, [...(names.get(bmc) ?? []), summary.name]);
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
      const url = powerUrlOf(bmc);
      const held = nameOf(url, ipmiPort);
      if (held !== undefined) await bmcs?.retry(held);
      return { answer: { bmc: held ?? url } };
    },
  };
}

/** As the power plane calls it. A relay or a hypervisor has no such name: nothing is held back there. */
function nameOf(url: string, ipmiPort: number): string | undefined {
  try {
    const target = parsePowerUrl(url);
    if (target.driver === 'ipmi') return bmcName(target.address, target.port ?? ipmiPort);
    return target.driver === 'redfish' ? bmcName(target.address, target.port) : undefined;
  } catch {
    return undefined; // `none`, or a record that somebody else wrote
  }
}
