import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const operatorOnecloudErrors = defineErrors('OneCloud operator', {
  ONECLOUD_SECRET_MISSING: entry<{ secret: string; key: string }>({
    message: ({ secret, key }) => `Secret ${secret}, or its key ${key}, which the cluster names, does not exist`,
    cure: ({ secret, key }) => `Create it: kubectl create secret generic ${secret} --from-file=${key}=FILE.`,
  }),
  ONECLOUD_AUTHORITY_UNUSABLE: entry<{ secret: string; why: string }>({
    message: ({ secret, why }) => `The authority in the Secret ${secret} cannot sign the cluster’s certificate: ${why}`,
    cure: ({ secret }) =>
      `Put a certificate and its key into ca.crt and ca.key, in PEM, not encrypted, EC, RSA or Ed25519; or delete the Secret: the operator makes one (kubectl delete secret ${secret}).`,
  }),
  ONECLOUD_LAYER_TIMEOUT: entry<{ components: readonly string[]; seconds: number; why: string }>({
    message: ({ components, seconds, why }) => `${components.join(', ')} did not become ready within ${seconds} s: ${why}`,
    cure: 'Look at the pods named above; set spec.version back, or give the component an image of its own.',
  }),
  ONECLOUD_COMPONENT_FAILED: entry<{ components: readonly string[]; why: string }>({
    message: ({ components, why }) => `${components.join(', ')} cannot be brought about: ${why}`,
    cure: 'Do what the reasons say; it is tried again by itself. Or set spec.version back.',
  }),
  ONECLOUD_STORAGE_CLASS_MISSING: entry<{
    claim: string;
    storageClass: string;
    component: string;
    known: readonly string[];
    nearest?: string;
  }>({
    message: ({ claim, storageClass, known, nearest }) =>
      `${claim} waits for the storage class ${storageClass}, which does not exist (${known.length === 0 ? 'there is none' : `there are ${known.join(', ')}`})${nearest === undefined ? '' : `; did you mean ${nearest}?`}`,
    cure: ({ claim, component }) =>
      `Create the class, or a volume of that class; or set spec.${component}.storageClassName and delete the ${claim.replace(/ .*\//, ' ')}, which holds nothing yet.`,
  }),
  ONECLOUD_DATABASE_UNREACHABLE: entry<{ server: string; reason: string }>({
    message: ({ server, reason }) => `The database server ${server} cannot be reached: ${reason}`,
    cure: 'Correct spec.mysql.host and port, or bring the server and the way to it back; it is tried again by itself.',
  }),
  ONECLOUD_DATABASE_LOGIN: entry<{ server: string; user: string; reason: string; source: string }>({
    message: ({ server, user, reason }) => `The database server ${server} does not let ${user} in: ${reason}`,
    cure: ({ source }) => `Correct spec.mysql.username or the password in ${source}, or let the account log in from the pods’ addresses.`,
  }),
  ONECLOUD_DATABASE_FORBIDDEN: entry<{ server: string; user: string; what: string; grants: string }>({
    message: ({ server, user, what }) => `${user} may not ${what} on the database server ${server}`,
    cure: ({ grants }) =>
      `Give the account its rights (${grants}), or make database and account by hand with the password of the component’s Secret.`,
  }),
  ONECLOUD_DATABASE_REFUSED: entry<{ server: string; what: string; reason: string }>({
    message: ({ server, what, reason }) => `The database server ${server} refuses to ${what}: ${reason}`,
    cure: 'Look at the server: it may be read-only, full, or have rules for passwords; it is tried again by itself.',
  }),
  ONECLOUD_DATABASE_SHARED: entry<{ server: string; other: string }>({
    message: ({ server, other }) => `The database server ${server} holds the databases of the cluster ${other}, which have the same names`,
    cure: 'Give each cluster a database server of its own (spec.mysql.host and port).',
  }),
  ONECLOUD_INSTANCE_TAKEN: entry<{ instance: string; other: string }>({
    message: ({ instance, other }) =>
      `The label app.kubernetes.io/instance=${instance} is that of the cluster ${other} in the same namespace, whose pods it selects`,
    cure: 'Give the cluster’s object a value of its own for that label, none, or the one that it had.',
  }),
  ONECLOUD_DATABASE_ACCESS_OFF: entry<Record<never, never>>({
    message: () => 'This operator was started without access to databases',
    cure: 'Start it as its image does.',
  }),
  ONECLOUD_DATABASES_NOT_DROPPED: entry<{ why: string; namespace: string; name: string }>({
    message: ({ why }) => `The cluster’s databases are not dropped yet, and its object stays until they are: ${why}`,
    cure: ({ namespace, name }) =>
      `Correct that, or leave the databases where they are: kubectl -n ${namespace} patch oc ${name} --type=merge -p '{"spec":{"databasePolicy":"Retain"}}'.`,
  }),
  ONECLOUD_IDENTITY_UNREACHABLE: entry<{ url: string; reason: string }>({
    message: ({ url, reason }) => `Keystone at ${url} cannot be reached: ${reason}`,
    cure: 'Look at the component keystone and at what keeps the operator’s pod from its Service; it is tried again by itself.',
  }),
  ONECLOUD_IDENTITY_LOGIN: entry<{ url: string; user: string; secret: string }>({
    message: ({ url, user }) => `Keystone at ${url} does not let ${user} in`,
    cure: ({ secret }) => `Put the administrator’s password into the Secret ${secret} (bootstrap-password), as Keystone has it.`,
  }),
  ONECLOUD_IDENTITY_REFUSED: entry<{ url: string; what: string; reason: string }>({
    message: ({ url, what, reason }) => `Keystone at ${url} refuses to ${what}: ${reason}`,
    cure: 'Look at Keystone’s log; it is tried again by itself.',
  }),
  ONECLOUD_DUMP_FAILED: entry<{ job: string; why: string }>({
    message: ({ job, why }) => `The databases were not dumped (Job ${job}), so nothing was changed: ${why}`,
    cure: ({ job }) =>
      `Correct that and delete the Job to try again (kubectl delete job ${job}), or remove spec.databaseBackup to go on without a dump, or set the version back.`,
  }),
  ONECLOUD_DATABASE_NOT_ROLLED_BACK: entry<{
    to: string;
    components: readonly string[];
    annotation: string;
    namespace: string;
    name: string;
  }>({
    message: ({ to, components }) =>
      `${to} is older than what brought up the tables of ${components.join(', ')}, which a change of images does not undo; nothing is changed`,
    cure: ({ to, annotation, namespace, name }) =>
      `Say that it is meant: bmctl cluster rollback --to ${to} --accept-database-not-rolled-back, or kubectl -n ${namespace} annotate oc ${name} ${annotation}=${to}; or set the version forward again.`,
  }),
});
