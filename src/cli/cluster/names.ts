/** Names by which bmctl and the operator understand each other beside the cluster's spec. */
import { ONECLOUD_GROUP, onecloudLabel } from 'cdk8s-baremetal-contract/onecloud/index';

/** Who wrote a field, for the API server's book-keeping and the cluster's history. */
export const BMCTL_MANAGER = 'bmctl';
/** What `dev sync` adds to a workload is applied under a name of its own, so that it can be taken back alone. */
export const DEV_SYNC_MANAGER = 'bmctl-dev-sync';

export const clusterAnnotation = {
  /** On an edited ConfigMap: checksum of the content that somebody accepted; other content is drift again. */
  acceptedConfig: `${ONECLOUD_GROUP}/accepted-config`,
  /** On an edited ConfigMap: it is generated again at the operator's next pass. */
  resetConfig: `${ONECLOUD_GROUP}/reset-config`,
  /** On the cluster: the version to which it may go back although databases stay as they are. */
  acceptDatabase: `${ONECLOUD_GROUP}/accept-database-not-rolled-back`,
  /** On the cluster, while a dump is read back: which, and the components that are disabled meanwhile. */
  restoring: `${ONECLOUD_GROUP}/restoring`,
  /** On a workload: what was copied into its pods, and so is in no image. */
  devSync: `${ONECLOUD_GROUP}/dev-sync`,
} as const;

/** Selects what carries a component's objects. */
export function componentSelector(instance: string, component?: string): string {
  const own = component === undefined ? '' : `,${onecloudLabel.component}=${component}`;
  return `${onecloudLabel.instance}=${instance}${own}`;
}
