import type { k8s } from 'cdk8s-plus-28';

/** What every container here has in common: nothing that it does not need. */
export function restricted(): k8s.SecurityContext {
  return { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, privileged: false, capabilities: { drop: ['ALL'] } };
}
