import { type Coordination, openCoordination, parseLeasesUrl } from 'cdk8s-baremetal-runtime/coordination/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { type ClusterLeases, openClusterLeases } from 'cdk8s-baremetal-runtime/roles/cluster-leases';
import type { ApiAccess } from 'cdk8s-baremetal-runtime/store/index';

const surroundings = { env: {}, network: nodeNetwork, clock: nodeClock, random: nodeRandom };

/** As the daemon opens it, with rights of one's own. */
export function openLeases(url: string, access: ApiAccess, leaseMs: number): Coordination {
  return openCoordination(url, {
    clock: nodeClock,
    sessionTimeoutMs: leaseMs,
    leases: { random: nodeRandom, scope: undefined, open: (where) => openClusterLeases(where, { ...surroundings, access, leaseMs }) },
  });
}

/** What is below it. */
export function openLeaseSource(url: string, access: ApiAccess, leaseMs: number): ClusterLeases {
  const { namespace, scope = 'default' } = parseLeasesUrl(url);
  return openClusterLeases({ namespace, scope }, { ...surroundings, access, leaseMs });
}
