/** What bms-core needs to work on the BareMetalNodes of its pod: rights, and to know which pod that is. */
import {
  API_GROUP,
  BMS_CORE,
  bareMetalNode,
  bmsCoreConfig,
  MACHINE_EVENT_VERBS,
  MACHINE_OBJECT_VERBS,
  MACHINE_STATUS_VERBS,
  type PodSpec,
  SERVICE_ACCOUNT,
  type SiteSpec,
} from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';

const ROLE = `${BMS_CORE}-objects`;

/** bms-core's service account may read machines, write what is known of them, and tell events of them; it cannot make, change or delete one. */
export class MachineObjectsAccess extends Construct {
  constructor(scope: Construct, id: string, { namespace }: { readonly namespace: string }) {
    super(scope, id);
    new k8s.KubeRole(this, 'role', {
      metadata: { name: ROLE },
      rules: [
        { apiGroups: [API_GROUP], resources: [bareMetalNode.plural], verbs: [...MACHINE_OBJECT_VERBS] },
        { apiGroups: [API_GROUP], resources: [`${bareMetalNode.plural}/status`], verbs: [...MACHINE_STATUS_VERBS] },
        { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: [...MACHINE_EVENT_VERBS] },
      ],
    });
    new k8s.KubeRoleBinding(this, 'role-binding', {
      metadata: { name: ROLE },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: ROLE },
      subjects: [{ kind: 'ServiceAccount', name: SERVICE_ACCOUNT, namespace }],
    });
  }
}

/**
 * Only with a store that both management nodes share: with a file on each, both would take every machine for their own. Overrides of the configuration, so
 * that the ConfigMap's text stays as it is.
 */
export function objectsEnvironment({ name: site, bmsCore: { store } }: SiteSpec, pod: PodSpec): k8s.EnvVar[] {
  if (store === 'sqlite') return [];
  const variable = (name: 'enabled' | 'site' | 'pod', value: string): k8s.EnvVar => ({
    name: bmsCoreConfig.envName('objects', name),
    value,
  });
  return [variable('enabled', 'true'), variable('site', site), variable('pod', pod.name)];
}
