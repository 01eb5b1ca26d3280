import { type Coordination, openCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { ClusterLeases } from 'cdk8s-baremetal-runtime/roles/cluster-leases';
import type { ApiAccess } from 'cdk8s-baremetal-runtime/store/index';

/** As the daemon opens it, with rights of one's own. */
export function openLeases(url: string, access: ApiAccess, leaseMs: number): Coordination {
  return openCoordination(url, {
    clock: nodeClock,
    sessionTimeoutMs: leaseMs,
    leases: {
      random: nodeRandom,
      scope: undefined,
      open: ({ namespace, scope }) =>
        new ClusterLeases({
          access,
          namespace: namespace ?? access.namespace,
          scope,
          network: nodeNetwork,
          clock: nodeClock,
          random: nodeRandom,
          leaseMs,
        }),
    },
  });
}
