export { type ComponentManifests, clusterManifests } from './cluster-manifests.ts';
export { configChecksum } from './config-checksum.ts';
export { type ClusterContext, DEFAULT_RENDER_IMAGE } from './context.ts';
export {
  type DatabaseDumpManifests,
  type DatabaseDumpProps,
  databaseDump,
  databaseDumpAuthority,
  databaseDumpKeys,
  databaseDumpScript,
  databaseRestore,
  databaseRestoreScript,
} from './database-dump.ts';
export { ClusterSpecError, OnecloudCluster, type OnecloudClusterProps } from './onecloud-cluster.ts';
export { OnecloudClusterResource, type OnecloudClusterResourceProps } from './onecloud-cluster-resource.ts';
export { type ManifestObject, OnecloudComponent, type OnecloudComponentProps } from './onecloud-component.ts';
