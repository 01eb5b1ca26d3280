/** The Jobs that dump a cluster's databases before an upgrade and read a dump back, and the claim that dumps are in. */
import {
  type ClusterSettings,
  DATABASE_DUMP,
  DATABASE_RESTORE,
  databaseDumpClaimName,
  databaseDumpJobName,
  databaseDumpSecretName,
  databaseRestoreName,
  MANAGED_BY,
  NAME_LABEL_VALUE,
  onecloudLabel,
  renderProgram,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { k8s } from 'cdk8s-plus-28';
import type { ManifestObject } from './onecloud-component.ts';
import { resourcesOf } from './resources.ts';

export interface DatabaseDumpProps {
  /** Name of the cluster. */
  readonly name: string;
  readonly namespace: string;
  readonly instance: string;
  readonly backup: NonNullable<ClusterSettings['databaseBackup']>;
  /** Of the change that it comes before, in the cluster's history. */
  readonly revision: number;
  /** Version in force, for the file's name. */
  readonly from: string;
  readonly databases: readonly string[];
  readonly priorityClassName?: string;
  readonly imagePullSecrets?: readonly { readonly name: string }[];
  readonly tolerations?: readonly k8s.Toleration[];
}

export interface DatabaseDumpManifests {
  readonly claim: ManifestObject;
  readonly job: ManifestObject;
  /** Name of the file in the claim. */
  readonly file: string;
}

const DUMPS = '/dumps';
const LOGIN = '/run/onecloud/database';
/** Of the Secret: an option file of MySQL's and MariaDB's clients, and the authority for TLS. */
export const databaseDumpKeys = { login: 'client.cnf', authority: 'ca.crt' } as const;
export const databaseDumpAuthority = `${LOGIN}/${databaseDumpKeys.authority}`;

/**
 * Written beside its place and moved there when it is whole: a dump's last line says so, and gzip's checksum holds. One of the same name, of
 * a cluster before this one whose claim was kept, stays under another name. The password is in the option file alone.
 */
export const databaseDumpScript = `set -euo pipefail
umask 027
login=$1 folder=$2 file=$3 keep=$4
shift 4
dump=$(command -v mariadb-dump || command -v mysqldump) || { echo "the image has neither mariadb-dump nor mysqldump" >&2; exit 127; }
part="$folder/.$file.part"
rm -f "$folder"/.*.part
trap 'rm -f "$part"' EXIT
"$dump" --defaults-file="$login" --single-transaction --quick --no-tablespaces --routines --triggers --events --hex-blob \\
  --default-character-set=utf8mb4 --databases "$@" | gzip > "$part"
gzip -dc "$part" | tail -n 1 | grep -q '^-- Dump completed' || { echo "the dump is not complete" >&2; exit 1; }
sync "$part"
if [ -e "$folder/$file" ]; then mv "$folder/$file" "$folder/\${file%.sql.gz}-of-$(date -u -r "$folder/$file" +%Y%m%dT%H%M%SZ).sql.gz"; fi
mv "$part" "$folder/$file"
ls -1t "$folder"/*.sql.gz | tail -n +$((keep + 1)) | while read -r old; do rm -f -- "$old"; done
ls -l "$folder/$file"
`;

/**
 * A database is dropped before it is read back, so that nothing stays of what came after the dump; accounts and their rights are not in it and
 * stay. Nothing is dropped before the whole dump was seen to be there. May be run again.
 */
export const databaseRestoreScript = `set -euo pipefail
login=$1 folder=$2 file=$3
client=$(command -v mariadb || command -v mysql) || { echo "the image has neither mariadb nor mysql" >&2; exit 127; }
[ -f "$folder/$file" ] || { echo "there is no $file, but: $(ls "$folder" | tr '\\n' ' ')" >&2; exit 66; }
gzip -dc "$folder/$file" | tail -n 1 | grep -q '^-- Dump completed' || { echo "$file is not complete" >&2; exit 65; }
gzip -dc "$folder/$file" \\
  | LC_ALL=C sed -E 's#^(CREATE DATABASE /\\*!32312 IF NOT EXISTS\\*/ )(\`[^\`]+\`)#DROP DATABASE IF EXISTS \\2;\\n&#' \\
  | "$client" --defaults-file="$login"
echo "$file is restored"
`;

export interface DatabaseRestoreProps extends Omit<DatabaseDumpProps, 'revision' | 'from' | 'databases'> {
  /** Name of the dump in the claim. */
  readonly file: string;
}

/** Reads its login from the Secret of its own name, which has databaseDumpKeys. */
export function databaseRestore(props: DatabaseRestoreProps): ManifestObject {
  const { name, namespace, instance, backup, file } = props;
  const labels = {
    [onecloudLabel.name]: NAME_LABEL_VALUE,
    [onecloudLabel.instance]: instance,
    [onecloudLabel.managedBy]: MANAGED_BY,
    [onecloudLabel.component]: DATABASE_RESTORE,
  };
  const job = databaseRestoreName(name);
  const spec = podSpec({
    ...props,
    container: DATABASE_RESTORE,
    script: databaseRestoreScript,
    args: [file],
    secret: job,
    claim: databaseDumpClaimName(name),
    readOnly: true,
  });
  return k8s.KubeJob.manifest({
    metadata: { name: job, namespace, labels },
    spec: { backoffLimit: 0, activeDeadlineSeconds: backup.timeoutSeconds, template: { metadata: { labels }, spec } },
  });
}

export function databaseDump(props: DatabaseDumpProps): DatabaseDumpManifests {
  const { name, namespace, instance, backup, revision, from, databases } = props;
  const labels = {
    [onecloudLabel.name]: NAME_LABEL_VALUE,
    [onecloudLabel.instance]: instance,
    [onecloudLabel.managedBy]: MANAGED_BY,
    [onecloudLabel.component]: DATABASE_DUMP,
  };
  const file = `${name}-r${String(revision).padStart(3, '0')}-${from.replaceAll(/[^A-Za-z0-9._-]/g, '_')}.sql.gz`;
  const claim = databaseDumpClaimName(name);
  const [job, volume]: readonly [ManifestObject, ManifestObject] = [
    k8s.KubeJob.manifest({
      metadata: { name: databaseDumpJobName(name, revision), namespace, labels },
      spec: {
        backoffLimit: 2,
        activeDeadlineSeconds: backup.timeoutSeconds,
        template: {
          metadata: { labels },
          spec: podSpec({
            ...props,
            container: DATABASE_DUMP,
            script: databaseDumpScript,
            args: [file, String(backup.keep), ...databases],
            secret: databaseDumpSecretName(name),
            claim,
          }),
        },
      },
    }),
    k8s.KubePersistentVolumeClaim.manifest({
      metadata: { name: claim, namespace, labels },
      spec: {
        accessModes: ['ReadWriteOnce'],
        storageClassName: backup.storageClassName,
        resources: { requests: { storage: k8s.Quantity.fromString(String(backup.storage)) } },
      },
    }),
  ];
  return { claim: volume, job, file };
}

interface DumpPod extends Pick<DatabaseDumpProps, 'backup' | 'priorityClassName' | 'imagePullSecrets' | 'tolerations'> {
  readonly container: string;
  readonly script: string;
  /** After the login and the folder. */
  readonly args: readonly string[];
  readonly secret: string;
  readonly claim: string;
  readonly readOnly?: boolean;
}

function podSpec(options: DumpPod): k8s.PodSpec {
  const { backup, container, script, args, secret, claim, readOnly, priorityClassName, imagePullSecrets, tolerations } = options;
  const { user, group } = renderProgram;
  return {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    ...(priorityClassName !== undefined && priorityClassName !== '' && { priorityClassName }),
    ...(imagePullSecrets && { imagePullSecrets: [...imagePullSecrets] }),
    ...(tolerations && { tolerations: [...tolerations] }),
    securityContext: {
      runAsNonRoot: true,
      runAsUser: user,
      runAsGroup: group,
      fsGroup: group,
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [
      {
        name: container,
        image: backup.image,
        imagePullPolicy: backup.image.includes('@sha256:') ? 'IfNotPresent' : 'Always',
        command: ['/bin/bash', '-c', script, container],
        args: [`${LOGIN}/${databaseDumpKeys.login}`, DUMPS, ...args],
        // the last lines of a failed dump are read from the pod's status: no right to read logs is needed
        terminationMessagePolicy: 'FallbackToLogsOnError',
        resources: resourcesOf({ requests: { cpu: '100m', memory: '64Mi' }, limits: { memory: '512Mi' } }),
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'] },
        },
        volumeMounts: [
          { name: 'login', mountPath: LOGIN, readOnly: true },
          { name: 'dumps', mountPath: DUMPS, ...(readOnly && { readOnly }) },
        ],
      },
    ],
    volumes: [
      { name: 'login', secret: { secretName: secret, defaultMode: 0o440 } },
      { name: 'dumps', persistentVolumeClaim: { claimName: claim } },
    ],
  };
}
