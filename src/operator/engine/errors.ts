/** What can go wrong between the operator and the API server, in words for people. */
import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const operatorErrors = defineErrors('OPERATOR', {
  OPERATOR_UNKNOWN_KIND: entry<{ apiVersion: string; kind: string }>({
    message: ({ apiVersion, kind }) => `The operator does not know where ${kind} of ${apiVersion} is served`,
    cure: 'Add the kind to the operator’s table of resource types.',
  }),
  OPERATOR_REQUESTS_INVALID: entry<{ name: string; value: string }>({
    message: ({ name, value }) => `${name} is ${JSON.stringify(value)}: it is a number of requests a second, 10 or more`,
    cure: 'Correct the variable of the operator’s Deployment (bmctl bundle --requests-per-second).',
  }),
  OPERATOR_KIND_NOT_SERVED: entry<{ object: string; apiVersion: string }>({
    message: ({ object, apiVersion }) => `The API server does not serve ${apiVersion}, needed for ${object}`,
    cure: ({ apiVersion }) =>
      /^(batch|policy)\/v1$/.test(apiVersion)
        ? 'Use Kubernetes 1.25 or later.'
        : 'Apply the CustomResourceDefinitions (kubectl apply -f crds/) or use a Kubernetes that serves this version.',
  }),
  OPERATOR_NAMESPACE_MISSING: entry<{ object: string; namespace: string }>({
    message: ({ object, namespace }) => `Namespace ${namespace}, where ${object} belongs, does not exist or is being deleted`,
    cure: ({ namespace }) => `Create it: kubectl create namespace ${namespace}.`,
  }),
  OPERATOR_FORBIDDEN: entry<{ what: string; reason: string }>({
    message: ({ what, reason }) => `The API server refuses ${what}: ${reason}`,
    cure: 'Give the operator’s service account the Role that its manifests contain, or look at the quota and admission rules named above.',
  }),
  OPERATOR_OBJECT_NOT_OURS: entry<{ object: string; owner: string }>({
    message: ({ object, owner }) => `${object} exists and belongs to ${owner}`,
    cure: 'Rename or delete that object, or label it as part of this installation to hand it over.',
  }),
  OPERATOR_FIELD_CONFLICT: entry<{ object: string; fields: readonly string[]; managers: readonly string[] }>({
    message: ({ object, fields, managers }) =>
      `${object}: ${fields.join(', ')} ${fields.length === 1 ? 'is' : 'are'} set by ${managers.join(', ') || 'another manager'}`,
    cure: 'Remove the field from the desired state, or let the other manager give it up.',
  }),
  OPERATOR_IMMUTABLE_FIELD: entry<{ object: string; kind: string; field: string; reason: string }>({
    message: ({ object, field, reason }) => `${object}: ${field} cannot change (${reason})`,
    cure: ({ kind, field }) => wayOut(kind, field),
  }),
  OPERATOR_INVALID_OBJECT: entry<{ object: string; problems: readonly string[] }>({
    message: ({ object, problems }) => `The API server refuses ${object}: ${problems.join('; ')}`,
    cure: 'Correct the named fields in the resource that it is made from.',
  }),
  OPERATOR_LEADERSHIP_LOST: entry<{ lease: string; identity: string }>({
    message: ({ lease, identity }) => `${identity} no longer holds the lease ${lease} and must not write`,
    cure: 'Nothing is to be done: another replica takes over.',
  }),
  OPERATOR_STOPPING: entry<Record<never, never>>({
    message: () => 'The operator is stopping',
    cure: 'Nothing is to be done: what was interrupted is taken up again at the next start.',
  }),
  OPERATOR_RECONCILE_TIMEOUT: entry<{ key: string; controller: string; limitMs: number }>({
    message: ({ key, controller, limitMs }) => `The ${controller} controller did not finish ${key} within ${limitMs / 1000} s`,
    cure: 'Look for a slow API server or a program that the controller waits for; it tries again by itself.',
  }),
});

/** How to get past a field that the API server will not change. */
function wayOut(kind: string, field: string): string {
  if (kind === 'PersistentVolumeClaim') {
    return 'Set it back (only requests.storage may grow, where the storage class allows it), or copy the data into a new claim and delete this one.';
  }
  if (kind === 'Service') return 'Set it back, or delete the Service: it is created again with the new value at the next pass.';
  if (field.includes('selector')) {
    return `Set it back, or delete the ${kind} with --cascade=orphan: it is created again at the next pass and replaces the pods it no longer selects.`;
  }
  if (kind === 'StatefulSet')
    return 'Set it back, or delete the StatefulSet with --cascade=orphan: it is created again and adopts its pods.';
  if (kind === 'Job') return 'Set it back, or delete the Job: it is created again and runs again.';
  return `Set it back, or delete the ${kind}: it is created again with the new value at the next pass.`;
}
