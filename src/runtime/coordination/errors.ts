import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const coordinationErrors = defineErrors('COORDINATION', {
  COORDINATION_URL: entry<{ url: string }>({
    message: ({ url }) => `the coordination URL "${url}" names no service that this program knows`,
    cure: 'Use kazoo://host:2181[,host:2181…][/path] for ZooKeeper, kubernetes://[namespace][/scope] for Leases, or memory:// for a single management node',
  }),
  COORDINATION_UNREACHABLE: entry<{ servers: string; reason: string }>({
    message: ({ servers, reason }) => `no session with ZooKeeper at ${servers}: ${reason}`,
    cure: 'Check that most of its servers run and that their client port is open from here; the daemon keeps trying',
  }),
  COORDINATION_KUBERNETES: entry<{ server: string; reason: string }>({
    message: ({ server, reason }) => `Leases of the API server at ${server} cannot be had: ${reason}`,
    cure: 'Check that it runs and that its port is open from here; the daemon keeps trying',
  }),
  COORDINATION_FORBIDDEN: entry<{ namespace: string; reason: string }>({
    message: ({ namespace, reason }) => `the service account may not work on leases in the namespace ${namespace}: ${reason}`,
    cure: "Apply the Role and RoleBinding bms-core-coordination of the site's manifests",
  }),
  COORDINATION_TOKEN: entry<{ server: string }>({
    message: ({ server }) => `the API server at ${server} does not accept the service account's token`,
    cure: 'Check that the service account exists and that its token volume is mounted; the file is read again each minute',
  }),
  COORDINATION_NAMESPACE: entry<{ namespace: string }>({
    message: ({ namespace }) => `there is no namespace ${namespace} for Leases`,
    cure: 'Create it, or correct [sw_coordination] backend_url; kubernetes:// alone means the namespace of the service account',
  }),
  COORDINATION_OUTSIDE: entry<{ reason: string }>({
    message: ({ reason }) => `[sw_coordination] backend_url = kubernetes:// needs the API server of a cluster: ${reason}`,
    cure: 'Run it in a Kubernetes pod whose service account token is mounted, or use kazoo:// (memory:// for a single management node)',
  }),
  COORDINATION_LOST: entry<{ member: string; reason: string }>({
    message: ({ member, reason }) => `the member ${member} is no longer in the group: ${reason}`,
    cure: 'Nothing, if this passes: the daemon joins again. Otherwise check the coordination service and the network to it',
  }),
  COORDINATION_LEASE_LOST: entry<{ name: string; reason: string }>({
    message: ({ name, reason }) => `the place in ${name} is gone: ${reason}`,
    cure: 'Nothing, if this passes: the task is tried again. Otherwise check the coordination service and the network to it',
  }),
  COORDINATION_BUSY: entry<{ name: string; limit: number; waitedS: number }>({
    message: ({ name, limit, waitedS }) => `none of the ${limit} places in ${name} came free within ${waitedS} s`,
    cure: 'Look for tasks that hold them, or raise max_connections or acquire_lock_timeout in [sw_coordination]',
  }),
  COORDINATION_LIMIT: entry<{ name: string; limit: number }>({
    message: ({ name, limit }) => `a semaphore needs a whole number of places of at least 1; ${name} was asked with ${limit}`,
    cure: 'Correct max_connections in [sw_coordination]',
  }),
  COORDINATION_CLOSED: entry<Record<never, never>>({
    message: () => 'the coordination client is closed',
    cure: 'Close it last, after everything that uses it',
  }),
});
