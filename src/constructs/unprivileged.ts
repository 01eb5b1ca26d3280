import type { k8s } from 'cdk8s-plus-28';

/** "nobody": has a line in /etc/passwd of every image, and ssh refuses a user without one. */
const NOBODY = 65534;

/** For a container that needs no right at all and writes to mounted volumes only. */
export const UNPRIVILEGED: k8s.SecurityContext = {
  runAsUser: NOBODY,
  runAsGroup: NOBODY,
  runAsNonRoot: true,
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};
