/** SendTargets discovery (RFC 7143 appendix C): which targets a portal has. */
import type { Endpoint } from 'cdk8s-baremetal-runtime/core/index';
import { iscsiErrors, portalName } from './errors.ts';
import { openSession, parsePortal, type SessionOptions } from './open-session.ts';
import { PduError } from './pdu.ts';

export interface DiscoveredTarget {
  readonly name: string;
  /** As the target names them: told, not to be trusted for connecting. Those that cannot be read are left out. */
  readonly portals: readonly Endpoint[];
}

/** Throws a CodedError of the ISCSI area, or the signal's reason. */
export async function discoverTargets(options: Omit<SessionOptions, 'targetName'>): Promise<DiscoveredTarget[]> {
  const session = await openSession(options);
  try {
    const targets: { name: string; portals: Endpoint[] }[] = [];
    for (const [key, value] of await session.sendText([['SendTargets', 'All']])) {
      if (key === 'TargetName') targets.push({ name: value, portals: [] });
      else if (key === 'TargetAddress') {
        const portal = parsePortal(value);
        if (portal) targets.at(-1)?.portals.push(portal);
      }
    }
    return targets;
  } catch (error) {
    if (!(error instanceof PduError)) throw error;
    throw iscsiErrors.ISCSI_PROTOCOL({ portal: portalName(options.portal), reason: error.message }, { cause: error });
  } finally {
    await session.logout();
  }
}
