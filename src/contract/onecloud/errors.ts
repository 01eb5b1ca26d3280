import { defineErrors, entry } from '../errors.ts';

/** What can be wrong with an OnecloudCluster, and with the catalog itself. */
export const onecloudErrors = defineErrors('OneCloud clusters', {
  ONECLOUD_NOT_A_CLUSTER: entry<{ found: string }>({
    message: ({ found }) => `this is ${found}, not an OnecloudCluster of onecloud.yunion.io/v1alpha1`,
    cure: 'Set apiVersion: onecloud.yunion.io/v1alpha1 and kind: OnecloudCluster',
  }),
  ONECLOUD_NAME_INVALID: entry<{ value: string }>({
    message: ({ value }) =>
      `metadata.name is ${value}: it must have at most 29 of a-z, 0-9 and "-", begin with a letter and not end with "-"`,
    cure: 'Choose such a name: it begins the name of every Service and CronJob of the cluster',
  }),
  ONECLOUD_KEY_UNKNOWN: entry<{ field: string; nearest?: string; components: readonly string[] }>({
    message: ({ field }) => `${field} is neither a setting nor a component of a cluster`,
    cure: ({ nearest, components }) => (nearest ? `Did you mean ${nearest}?` : `Remove it; the components are ${components.join(', ')}`),
  }),
  ONECLOUD_FIELD_UNKNOWN: entry<{ field: string; nearest?: string; known: readonly string[] }>({
    message: ({ field }) => `${field} is not a field of the cluster`,
    cure: ({ nearest, known }) => (nearest ? `Did you mean ${nearest}?` : `Use one of ${known.join(', ')}`),
  }),
  ONECLOUD_FIELD_MISSING: entry<{ field: string }>({
    message: ({ field }) => `${field} is missing`,
    cure: ({ field }) => `Add ${field}`,
  }),
  ONECLOUD_FIELD_INVALID: entry<{ field: string; value: string; rule: string }>({
    message: ({ field, value, rule }) => `${field} is ${value}: it ${rule}`,
    cure: 'Correct the value',
  }),
  ONECLOUD_FIELD_IMMUTABLE: entry<{ field: string; from: string; to: string }>({
    message: ({ field, from, to }) => `${field} is ${from} and cannot become ${to}: services and machines are registered under it`,
    cure: 'Leave it; another region or zone is another cluster',
  }),
  ONECLOUD_PASSWORD_SOURCE: entry<{ field: string; given: 'none' | 'both'; key?: string }>({
    message: ({ field, given, key = 'password' }) =>
      given === 'none' ? `${field} has neither ${key} nor ${key}SecretRef` : `${field} has both ${key} and ${key}SecretRef`,
    cure: ({ key = 'password' }) => `Give one of them; ${key}SecretRef: { name, key } names a Secret of the same namespace`,
  }),
  ONECLOUD_SECRET_AS_VALUE: entry<{ field: string; instead: string }>({
    message: ({ field }) => `${field} holds a secret as a value, which everybody who may read the object sees (value not shown)`,
    cure: ({ instead }) => `Create a Secret and name it as ${instead}: { name, key }`,
  }),
  ONECLOUD_NODE_PORT_TAKEN: entry<{ port: number; owner: string; other: string }>({
    message: ({ port, owner, other }) => `node port ${port} of ${owner} is already that of ${other}`,
    cure: ({ owner }) => `Give ${owner.split(' ').at(-1)} another one (nodePorts) or keep it inside (internalOnly: true)`,
  }),
  ONECLOUD_DUPLICATE_CLUSTER: entry<{ name: string }>({
    message: ({ name }) => `there are two clusters ${name}`,
    cure: 'Rename one of them, or put it into another namespace',
  }),
  ONECLOUD_REPLICAS_SHARE_VOLUME: entry<{ component: string; replicas: number }>({
    message: ({ component, replicas }) => `${component} asks for ${replicas} replicas of a volume that one node may mount`,
    cure: 'Set accessMode: ReadWriteMany with a storage class that offers it, or replicas: 1',
  }),
  ONECLOUD_REPLICAS_SINGLE: entry<{ component: string; replicas: number; reason: string }>({
    message: ({ component, replicas, reason }) => `${component} asks for ${replicas} replicas, but ${reason}`,
    cure: 'Set replicas: 1, or remove it',
  }),
  ONECLOUD_UPDATE_STRATEGY: entry<{ field: string }>({
    message: ({ field }) => `${field} has maxUnavailable beside type OnDelete, where nothing rolls`,
    cure: 'Remove maxUnavailable, or set type: RollingUpdate',
  }),
  ONECLOUD_CATALOG_CYCLE: entry<{ components: readonly string[] }>({
    message: ({ components }) => `the components ${components.join(', ')} wait for each other`,
    cure: 'Remove one of their `after`',
  }),
  ONECLOUD_CATALOG_DEPENDENCY: entry<{ component: string; dependency: string }>({
    message: ({ component, dependency }) => `${component} comes after ${dependency}, which is no component`,
    cure: 'Correct its `after`',
  }),
});
