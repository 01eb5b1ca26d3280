import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const kubernetesStoreErrors = defineErrors('STORE on Kubernetes', {
  STORE_KUBERNETES_OUTSIDE: entry<{ missing: string }>({
    message: ({ missing }) => `the store is kubernetes://, and this is no container of a cluster: ${missing}`,
    cure: 'Run it in a Kubernetes pod whose service account token is mounted (store: kubernetes of the site does that), or name another store in [store] url',
  }),
  STORE_KUBERNETES_UNAUTHORIZED: entry<{ server: string }>({
    message: ({ server }) => `the API server ${server} does not accept the service account's token`,
    cure: 'Check that the service account exists and that its token volume is mounted; the file is read again each minute',
  }),
  STORE_KUBERNETES_FORBIDDEN: entry<{ verb: string; namespace: string; reason: string }>({
    message: ({ verb, namespace, reason }) => `the service account may not ${verb} bmsrecords in the namespace ${namespace}: ${reason}`,
    cure: "Apply the Role and RoleBinding of the site's manifests (verbs get, list, watch, create, update and delete on bmsrecords.baremetal.bms.io)",
  }),
  STORE_KUBERNETES_CRD_MISSING: entry<{ server: string }>({
    message: ({ server }) => `the API server ${server} knows no bmsrecords.baremetal.bms.io`,
    cure: 'Apply the CustomResourceDefinitions (kubectl apply -f crds/); the daemon keeps trying',
  }),
  STORE_KUBERNETES_NAMESPACE: entry<{ namespace: string }>({
    message: ({ namespace }) => `there is no namespace ${namespace}`,
    cure: 'Create it, or correct [store] url; kubernetes:// alone means the namespace of the service account',
  }),
  STORE_KUBERNETES_UNREACHABLE: entry<{ server: string; seconds: number; reason: string }>({
    message: ({ server, seconds, reason }) => `the API server ${server} has not done what it was asked for ${seconds} s: ${reason}`,
    cure: 'Check that it runs, that its port is open from here, and that its certificate is signed by the mounted CA; the daemon keeps trying',
  }),
  STORE_KUBERNETES_TOO_LARGE: entry<{ kind: string; id: string; bytes: number; limit: number }>({
    message: ({ kind, id, bytes, limit }) => `the ${kind} ${id} has ${bytes} bytes, and etcd takes ${limit} in one object`,
    cure: 'Make the record smaller, or keep this pod in MySQL ([store] url = mysql://…)',
  }),
  STORE_KUBERNETES_REFUSED: entry<{ what: string; status: number; reason: string }>({
    message: ({ what, status, reason }) => `the API server answered ${status} to ${what}: ${reason}`,
    cure: 'Apply the CustomResourceDefinitions of this release (kubectl apply -f crds/), and look for admission webhooks that touch bmsrecords',
  }),
  STORE_KUBERNETES_OBJECT: entry<{ name: string; reason: string }>({
    message: ({ name, reason }) => `the object ${name} is no record of this store: ${reason}`,
    cure: ({ name }) => `Look at it with kubectl get bmsrecord ${name} -o yaml, and delete it when somebody made it by hand`,
  }),
});
