/** What the operator may do, and why: no verb without a use, no wildcard, nothing that would let it give rights to others. */
import { ONECLOUD_GROUP, onecloudCluster } from 'cdk8s-baremetal-contract/onecloud/index';
import type { k8s } from 'cdk8s-plus-28';

const READ = ['get', 'list', 'watch'];
/** Server-side apply is `patch`, and `create` for what is not there; pruning and clean-up are `delete`. */
const OWN = [...READ, 'create', 'patch', 'delete'];

/** In the namespaces of clusters. */
export function operatorNamespaceRules(): k8s.PolicyRule[] {
  return [
    { apiGroups: [ONECLOUD_GROUP], resources: [onecloudCluster.plural], verbs: [...READ, 'patch'] },
    { apiGroups: [ONECLOUD_GROUP], resources: [`${onecloudCluster.plural}/status`], verbs: ['patch', 'update'] },
    // its objects block the deletion of their owner, which needs this word
    { apiGroups: [ONECLOUD_GROUP], resources: [`${onecloudCluster.plural}/finalizers`], verbs: ['update'] },
    // Secrets: passwords and certificates are generated into them
    { apiGroups: [''], resources: ['secrets', 'configmaps', 'services', 'serviceaccounts', 'persistentvolumeclaims'], verbs: OWN },
    { apiGroups: ['apps'], resources: ['deployments', 'daemonsets'], verbs: OWN },
    // jobs: a database dump before an upgrade
    { apiGroups: ['batch'], resources: ['cronjobs', 'jobs'], verbs: OWN },
    { apiGroups: ['networking.k8s.io'], resources: ['ingresses'], verbs: OWN },
    { apiGroups: ['policy'], resources: ['poddisruptionbudgets'], verbs: OWN },
    // why a workload is not ready
    { apiGroups: [''], resources: ['pods'], verbs: READ },
    { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'] },
  ];
}

/** What belongs to no namespace. */
export function operatorClusterRules(): k8s.PolicyRule[] {
  return [
    // a component for labelled nodes has no replicas while there are none
    { apiGroups: [''], resources: ['nodes'], verbs: READ },
    // whether a claim's class exists, and whether its volumes grow
    { apiGroups: ['storage.k8s.io'], resources: ['storageclasses'], verbs: READ },
  ];
}

/** In its own namespace. */
export function operatorLeaseRules(lease: string): k8s.PolicyRule[] {
  return [
    { apiGroups: ['coordination.k8s.io'], resources: ['leases'], resourceNames: [lease], verbs: ['get', 'update'] },
    // what does not exist yet has no name that a rule could go by
    { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
  ];
}
