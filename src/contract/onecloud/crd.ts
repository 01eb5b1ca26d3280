/** The custom resource OnecloudCluster: a OneCloud installation as one object. */
import { type CrdDefinition, defineCrd } from '../crd/define-crd.ts';
import { clusterRules, withRootRules } from './cluster-rules.ts';
import { clusterSpecSchema } from './cluster-spec.ts';
import { clusterStatusSchema } from './cluster-status.ts';
import { ONECLOUD_GROUP, ONECLOUD_KIND, ONECLOUD_VERSION } from './names.ts';

const definition = defineCrd({
  group: ONECLOUD_GROUP,
  version: ONECLOUD_VERSION,
  kind: ONECLOUD_KIND,
  plural: 'onecloudclusters',
  singular: 'onecloudcluster',
  shortNames: ['onecloud', 'oc'],
  scope: 'Namespaced',
  description: 'A OneCloud installation: its database, its version, and what differs for single components.',
  spec: clusterSpecSchema,
  status: clusterStatusSchema,
  printerColumns: [
    { name: 'Version', type: 'string', jsonPath: '.spec.version' },
    { name: 'Phase', type: 'string', jsonPath: '.status.phase' },
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: 'In force', type: 'string', jsonPath: '.status.version', priority: 1 },
    { name: 'Keystone', type: 'string', jsonPath: '.status.components.keystone.image', priority: 1 },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  ],
});

export const onecloudCluster: CrdDefinition<typeof clusterSpecSchema, typeof clusterStatusSchema> = {
  ...definition,
  manifest: () => withRootRules(definition.manifest(), [clusterRules.name]),
};
