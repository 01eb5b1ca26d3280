import { defineErrors, entry } from 'cdk8s-baremetal-contract';

/** What keeps `bmctl cluster` from doing what it was asked. */
export const clusterErrors = defineErrors('bmctl cluster', {
  CLUSTER_NO_KUBECONFIG: entry<{ reason: string }>({
    message: ({ reason }) => `no Kubernetes cluster is configured: ${reason}`,
    cure: 'Set KUBECONFIG, or name a file with --kubeconfig (kubeadm leaves one in /etc/kubernetes/admin.conf)',
  }),
  CLUSTER_API_UNREACHABLE: entry<{ reason: string }>({
    message: ({ reason }) => `the API server does not answer: ${reason}`,
    cure: 'Check the server address in the kubeconfig, and that the API server runs',
  }),
  CLUSTER_UNAUTHORIZED: entry<{ reason: string }>({
    message: ({ reason }) => `the API server does not know who asks: ${reason}`,
    cure: 'Renew the certificate or token of the kubeconfig',
  }),
  CLUSTER_FORBIDDEN: entry<{ reason: string }>({
    message: ({ reason }) => `the API server forbids it: ${reason}`,
    cure: 'Ask for a Role with the verb and resource that are named, or use another kubeconfig',
  }),
  CLUSTER_CRD_MISSING: entry<{ namespace: string }>({
    message: () => 'the API server does not serve OnecloudCluster of onecloud.yunion.io/v1alpha1',
    cure: 'Install the CustomResourceDefinitions and the operator: bmctl bundle | kubectl apply -f -',
  }),
  CLUSTER_NAMESPACE_MISSING: entry<{ namespace: string }>({
    message: ({ namespace }) => `the namespace ${namespace} does not exist`,
    cure: ({ namespace }) => `Create it: kubectl create namespace ${namespace}`,
  }),
  CLUSTER_NOT_FOUND: entry<{ cluster: string; known: readonly string[] }>({
    message: ({ cluster }) => `there is no OnecloudCluster ${cluster}`,
    cure: ({ known }) =>
      known.length > 0 ? `Name one of ${known.join(', ')} with --name and --namespace` : 'Create it with bmctl cluster create',
  }),
  CLUSTER_REFUSED: entry<{ reason: string }>({
    message: ({ reason }) => `the API server refuses it: ${reason}`,
    cure: 'Correct the named fields',
  }),
  CLUSTER_CHANGED_MEANWHILE: entry<{ cluster: string }>({
    message: ({ cluster }) => `somebody else changed ${cluster} at the same time`,
    cure: 'Look at bmctl cluster plan again, and repeat the command',
  }),
  CLUSTER_INVALID: entry<{ problems: readonly string[] }>({
    message: ({ problems }) => `the cluster cannot be built: ${problems.join(' | ')}`,
    cure: 'Correct what is named; nothing was changed',
  }),
  CLUSTER_EXISTS_OTHERWISE: entry<{ cluster: string; differences: readonly string[] }>({
    message: ({ cluster, differences }) => `${cluster} exists and differs from what was asked for: ${differences.join('; ')}`,
    cure: 'Change it with bmctl cluster update, or create another one with --name; nothing was changed',
  }),
  CLUSTER_PASSWORD_IN_ARGV: entry<Record<never, never>>({
    message: () => 'a password on the command line is seen by everybody who lists the processes of this machine (value not shown)',
    cure: 'Give it as --mysql-password-file FILE, --mysql-password-stdin or BMCTL_MYSQL_PASSWORD, or name a Secret with --mysql-secret',
  }),
  CLUSTER_PASSWORD_SOURCES: entry<{ given: readonly string[] }>({
    message: ({ given }) =>
      given.length === 0 ? 'the password of the MySQL account is missing' : `the password comes from ${given.join(' and ')} at once`,
    cure: 'Give exactly one of --mysql-password-file, --mysql-password-stdin, BMCTL_MYSQL_PASSWORD and --mysql-secret',
  }),
  CLUSTER_PASSWORD_UNUSABLE: entry<{ source: string; reason: string }>({
    message: ({ source, reason }) => `the password from ${source} ${reason} (value not shown)`,
    cure: 'Write the password alone into it, as one line of printable text',
  }),
  CLUSTER_SECRET_TAKEN: entry<{ secret: string }>({
    message: ({ secret }) => `the Secret ${secret} exists and was not made by bmctl`,
    cure: ({ secret }) => `Use it as it is with --mysql-secret ${secret}, or delete it`,
  }),
  CLUSTER_ASSIGNMENT_MALFORMED: entry<{ assignment: string }>({
    message: ({ assignment }) => `--component ${assignment} is not of the form KEY.FIELD=VALUE`,
    cure: 'Write for example --component glance.image=registry.example.net/yunionio/glance:v3.1.4; an empty value clears the field',
  }),
  CLUSTER_COMPONENT_UNKNOWN: entry<{ component: string; nearest?: string; known: readonly string[] }>({
    message: ({ component }) => `${component} is no component`,
    cure: ({ nearest, known }) => (nearest ? `Did you mean ${nearest}?` : `Use one of ${known.join(', ')}`),
  }),
  CLUSTER_NOTHING_ASKED: entry<{ flags: string }>({
    message: () => 'nothing is asked for',
    cure: ({ flags }) => `Give at least one of ${flags}`,
  }),
  CLUSTER_VERSION_BEFORE: entry<{ from: string; to: string }>({
    message: ({ from, to }) => `${to} ran here before ${from}: going there is a rollback, which undoes images and no database`,
    cure: ({ to }) => `Use bmctl cluster rollback --to ${to}`,
  }),
  CLUSTER_NO_EARLIER_VERSION: entry<{ version: string }>({
    message: ({ version }) => `the history knows no version before ${version}`,
    cure: 'Name a version with --to if you know that it ran, or use bmctl cluster update --version',
  }),
  CLUSTER_VERSION_NEVER_RAN: entry<{ version: string; known: readonly string[]; nearest?: string }>({
    message: ({ version }) => `${version} never ran here`,
    cure: ({ known, nearest }) =>
      nearest
        ? `Did you mean ${nearest}?`
        : `Use one of ${known.join(', ') || 'none'}, or bmctl cluster update --version for a version that is new here`,
  }),
  CLUSTER_DATABASE_NOT_ROLLED_BACK: entry<{ from: string; to: string; components: readonly string[] }>({
    message: ({ from, to, components }) =>
      `${components.join(', ')} may have changed their tables when they came from ${to} to ${from}; a rollback undoes images only`,
    cure: 'If they must go back, use bmctl cluster restore, which reads a dump back with its version; otherwise repeat with --accept-database-not-rolled-back',
  }),
  CLUSTER_NO_DUMP: entry<{ cluster: string; dump?: string; known: readonly string[] }>({
    message: ({ cluster, dump }) => `the history of ${cluster} knows no dump${dump === undefined ? '' : ` ${dump}`}`,
    cure: ({ known }) =>
      known.length > 0
        ? `Name one of ${known.join(', ')} with --dump; one of an earlier cluster with --dump and --version`
        : 'spec.databaseBackup makes upgrades begin with one. One of an earlier cluster in the claim of dumps is named with --dump and --version',
  }),
  CLUSTER_RESTORE_CONFIRM: entry<{ dump: string }>({
    message: ({ dump }) => `${dump} was not restored`,
    cure: 'Look at the list above, and repeat with --yes',
  }),
  CLUSTER_RESTORE_UNDER_WAY: entry<{ dump: string }>({
    message: ({ dump }) => `the restore of ${dump} has begun and did not end`,
    cure: ({ dump }) => `Repeat it with --dump ${dump}, or give up with --abort`,
  }),
  CLUSTER_NO_RESTORE: entry<{ cluster: string }>({
    message: ({ cluster }) => `no restore of ${cluster} is under way`,
    cure: 'Nothing is to be done',
  }),
  CLUSTER_RESTORE_FAILED: entry<{ job: string; namespace: string; why: string }>({
    message: ({ job, why }) => `the Job ${job} did not restore the dump: ${why}`,
    cure: ({ job, namespace }) =>
      `Look at kubectl -n ${namespace} logs job/${job}, correct the cause and repeat the command: services stay disabled until then. --abort enables them with the databases as they are now`,
  }),
  CLUSTER_RESTORE_DEADLINE: entry<{ minutes: number; waits: string }>({
    message: ({ minutes, waits }) => `after ${minutes} minutes the restore still waits for ${waits}`,
    cure: 'Look at bmctl cluster status and at whether the operator runs, and repeat the command: it goes on where it was',
  }),
  CLUSTER_NOT_CONFIRMED: entry<{ cluster: string }>({
    message: ({ cluster }) => `${cluster} was not deleted`,
    cure: 'Look at the list above, and repeat with --yes',
  }),
  CLUSTER_WAIT_DEADLINE: entry<{ cluster: string; minutes: number; blocking: readonly string[] }>({
    message: ({ cluster, minutes, blocking }) =>
      `${cluster} is not there after ${minutes} minutes; it waits for ${blocking.join('; ') || 'the operator, which has not reported'}`,
    cure: 'Look at bmctl cluster status; without any report, at whether the operator runs (kubectl -n onecloud-system get pods)',
  }),
  CLUSTER_WAIT_FAILED: entry<{ cluster: string; reason: string }>({
    message: ({ cluster, reason }) => `${cluster} did not become what was asked for: ${reason}`,
    cure: 'Look at bmctl cluster status; correct the cause, or go back with bmctl cluster rollback',
  }),
  CLUSTER_WAIT_DELETED: entry<{ cluster: string }>({
    message: ({ cluster }) => `${cluster} was deleted while it was waited for`,
    cure: 'Create it again with bmctl cluster create, if that was not meant',
  }),
  CLUSTER_NO_CONFIG: entry<{ component: string }>({
    message: ({ component }) => `${component} has no configuration in a ConfigMap yet`,
    cure: 'Look at bmctl cluster status for whether the operator has brought it up, and whether it is a component with a configuration',
  }),
  CLUSTER_NO_DRIFT: entry<{ component: string }>({
    message: ({ component }) => `the configuration of ${component} is as it was generated: there is nothing to decide`,
    cure: 'Nothing is to be done',
  }),
  CLUSTER_DEV_SEVERAL: entry<{ component: string; replicas: number }>({
    message: ({ component, replicas }) => `${component} runs in ${replicas} pods`,
    cure: 'Set replicas: 1 while you develop, or copy to all of them with --all',
  }),
  CLUSTER_DEV_KIND: entry<{ component: string; kind: string }>({
    message: ({ component, kind }) => `${component} is a ${kind}: its pods are not replaced one by one on request`,
    cure: 'Build an image and name it with bmctl cluster update --component KEY.image=…',
  }),
  CLUSTER_DEV_NOT_RUNNING: entry<{ component: string }>({
    message: ({ component }) => `${component} has no pods to copy into`,
    cure: 'Look at bmctl cluster status: it may be disabled, or not be brought up yet',
  }),
  CLUSTER_DEV_NO_PROGRAM: entry<{ component: string }>({
    message: ({ component }) => `${component} starts no program of its own below /opt/yunion/bin`,
    cure: 'Name the path in the container: LOCALFILE:/path/in/container',
  }),
  CLUSTER_DEV_FILE: entry<{ file: string; reason: string }>({
    message: ({ file, reason }) => `${file} cannot be copied: ${reason}`,
    cure: 'Name a program built for the container’s system (GOOS=linux, CGO_ENABLED=0)',
  }),
  CLUSTER_DEV_EXEC: entry<{ pod: string; reason: string }>({
    message: ({ pod, reason }) => `the copy into pod ${pod} failed: ${reason}`,
    cure: 'Look at kubectl logs and describe of the pod; the container’s image must have /bin/sh, head, wc and mv',
  }),
  CLUSTER_DEV_DEADLINE: entry<{ component: string; seconds: number }>({
    message: ({ component, seconds }) => `no pod of ${component} waited for its program within ${seconds} s`,
    cure: 'Look at bmctl cluster status: the pod must be scheduled and its image be there',
  }),
  CLUSTER_FILE_UNREADABLE: entry<{ file: string; reason: string }>({
    message: ({ file, reason }) => `${file} cannot be read: ${reason}`,
    cure: 'Check the path and its permissions',
  }),
  CLUSTER_FILE_SYNTAX: entry<{ reason: string }>({
    message: ({ reason }) => `this is not YAML: ${reason}`,
    cure: 'Correct the line',
  }),
  CLUSTER_FILE_WITHOUT: entry<{ files: string }>({
    message: ({ files }) => `no OnecloudCluster is in ${files}`,
    cure: 'Name files with apiVersion: onecloud.yunion.io/v1alpha1 and kind: OnecloudCluster',
  }),
  CLUSTER_FILE_PROBLEMS: entry<{ count: number }>({
    message: ({ count }) => `${count} ${count === 1 ? 'problem' : 'problems'} found`,
    cure: 'Correct the lines above',
  }),
  CLUSTER_INIT_PREFLIGHT: entry<{ problems: readonly string[] }>({
    message: ({ problems }) => `this machine is not ready: ${problems.join('; ')}`,
    cure: 'Correct them and repeat; --dry-run prints the configuration without running anything',
  }),
  CLUSTER_INIT_FLAG: entry<{ flag: string; value: string; rule: string }>({
    message: ({ flag, value, rule }) => `${flag} is ${JSON.stringify(value)}: it ${rule}`,
    cure: 'Correct the flag',
  }),
  CLUSTER_INIT_FAILED: entry<{ code: number }>({
    message: ({ code }) => `kubeadm ended with ${code}`,
    cure: 'Read what it printed above; kubeadm reset takes back what it did',
  }),
});
