import { ApiObject, JsonPatch } from 'cdk8s';
import { Construct } from 'constructs';

export interface NoGitRepoVolumesProps {
  /** What happens to a pod with such a volume. @default Deny */
  readonly action?: 'Deny' | 'Warn' | 'Audit';
}

const NAME = 'no-gitrepo-volumes';

/**
 * Refuses pods with a gitRepo volume, cluster-wide. Kubernetes still admits the field and its kubelet no longer serves it, so a
 * pod would hang; where it does serve it, a repository's hooks run as root on the node (CVE-2024-10220).
 */
export class NoGitRepoVolumes extends Construct {
  constructor(scope: Construct, id: string, { action = 'Deny' }: NoGitRepoVolumesProps = {}) {
    super(scope, id);
    const objects = [
      // by hand: the L1 objects are of Kubernetes 1.28, where these were not v1 yet
      new ApiObject(this, 'policy', {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingAdmissionPolicy',
        metadata: { name: NAME },
        spec: {
          failurePolicy: 'Fail',
          matchConstraints: {
            resourceRules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['pods'] }],
          },
          validations: [
            {
              expression: '!has(object.spec.volumes) || !object.spec.volumes.exists(v, has(v.gitRepo))',
              message: 'gitRepo volumes are not allowed: check the revision out in an init container',
            },
          ],
        },
      }),
      new ApiObject(this, 'binding', {
        apiVersion: 'admissionregistration.k8s.io/v1',
        kind: 'ValidatingAdmissionPolicyBinding',
        metadata: { name: NAME },
        spec: { policyName: NAME, validationActions: [action] },
      }),
    ];
    // neither is in a namespace; without one in the chart there is nothing to remove
    for (const object of objects) if (object.metadata.namespace !== undefined) object.addJsonPatch(JsonPatch.remove('/metadata/namespace'));
  }
}
