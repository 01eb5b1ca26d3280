/** What the operator writes on objects beside what the contract names. */
import { ONECLOUD_API_VERSION, ONECLOUD_GROUP, ONECLOUD_KIND, onecloudLabel } from 'cdk8s-baremetal-contract/onecloud/index';
import type { ResourceType } from '../engine/objects.ts';

export const clusterType: ResourceType = {
  apiVersion: ONECLOUD_API_VERSION,
  kind: ONECLOUD_KIND,
  plural: 'onecloudclusters',
  namespaced: true,
};

/** Keeps a cluster's object until what belongs to it is gone. */
export const FINALIZER = `${ONECLOUD_GROUP}/operator`;

export const operatorAnnotation = {
  /** On an edited ConfigMap: checksum of the content that somebody accepted; it is kept and no longer reported as drift. */
  acceptedConfig: `${ONECLOUD_GROUP}/accepted-config`,
  /** On an edited ConfigMap: any value; the content is generated again at the next pass, and the annotation goes. */
  resetConfig: `${ONECLOUD_GROUP}/reset-config`,
  /** On a cluster's object: who asks for the change, told in status.history. */
  changedBy: `${ONECLOUD_GROUP}/changed-by`,
  /** On a cluster's object: the version to which it may go back although databases stay as they are. It goes when the way back begins. */
  acceptDatabase: `${ONECLOUD_GROUP}/accept-database-not-rolled-back`,
} as const;

export const INSTANCE_LABEL = onecloudLabel.instance;

/** Secret with the authority's key, which no pod mounts. */
export function authoritySecretName(cluster: string): string {
  return `${cluster}-ca`;
}
