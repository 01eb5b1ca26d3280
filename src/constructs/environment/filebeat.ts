/** filebeat beside a service: its configuration, and the sidecar that runs it. */
import { k8s } from 'cdk8s-plus-28';

export const FILEBEAT = 'filebeat';
export const FILEBEAT_CONFIG = 'filebeat.yml';
/** In the sidecar, as in the original. */
const LOG_DIRECTORY = '/log';
const CONFIG_DIRECTORY = '/etc/filebeat';
/** Where the official image keeps its registry: which file was read up to where. */
const DATA_DIRECTORY = '/usr/share/filebeat/data';
/** uid of the user filebeat in the official image. */
const FILEBEAT_USER = 1000;
const PASSWORD_VARIABLE = 'REDIS_PASSWORD';

export const DEFAULT_REDIS: RedisList = { hosts: ['10.0.116.62:6379'], key: 'logstash:redis' };

/** The list that filebeat pushes to and logstash takes from. */
export interface RedisList {
  /** HOST:PORT each, or rediss:// URLs for TLS. */
  readonly hosts: readonly string[];
  readonly key: string;
  /** Secret with the key `password`. @default - none */
  readonly passwordSecret?: string;
}

export interface FilebeatConfigOptions {
  /** Unique among the inputs of one filebeat: what it has read is remembered under it. */
  readonly id: string;
  /** A list as text, since YAML reads JSON. */
  readonly tags: string;
  readonly hosts: string;
  readonly key: string;
  readonly hasPassword: boolean;
  /** `native`: a file is its inode; `path`: its name, for network file systems, where inodes change. */
  readonly fileIdentity: 'native' | 'path';
}

/**
 * filebeat.yml, for filebeat 7.14 to 9. Files are known by inode or name and not by fingerprint, the default from 9 on: that passes
 * over files below 1,024 bytes, so a new service would be silent until its log has grown.
 *
 * What a variable holds is parsed: a comma makes a list, 0123 is 83. In quotes of its own it is the text that it is, but for a single quote.
 */
export function filebeatConfig({ id, tags, hosts, key, hasPassword, fileIdentity }: FilebeatConfigOptions): string {
  return `filebeat.inputs:
- type: filestream
  id: ${id}
  paths:
    - ${LOG_DIRECTORY}/*.log
  parsers:
    - multiline:
        type: pattern
        pattern: '^\\['
        negate: true
        match: after
  tags: ${tags}
  file_identity.${fileIdentity}: ~
  prospector.scanner.fingerprint.enabled: false
filebeat.shutdown_timeout: 5s

output.redis:
  hosts: ${hosts}
${hasPassword ? `  password: "'\${${PASSWORD_VARIABLE}}'"\n` : ''}  key: ${key}
  datatype: list
`;
}

/** A sidecar as Kubernetes knows it: started before the service, stopped after it, so that its last lines are read. */
export function filebeatSidecar(
  image: string,
  imagePullPolicy: string,
  passwordSecret: string | undefined,
  logs: k8s.VolumeMount,
): k8s.Container {
  return {
    name: FILEBEAT,
    image,
    imagePullPolicy,
    restartPolicy: 'Always',
    args: ['-e', '-c', `${CONFIG_DIRECTORY}/${FILEBEAT_CONFIG}`],
    ...(passwordSecret !== undefined && {
      env: [{ name: PASSWORD_VARIABLE, valueFrom: { secretKeyRef: { name: passwordSecret, key: 'password' } } }],
    }),
    resources: {
      requests: { cpu: k8s.Quantity.fromString('20m'), memory: k8s.Quantity.fromString('64Mi') },
      limits: { memory: k8s.Quantity.fromString('256Mi') },
    },
    securityContext: {
      runAsUser: FILEBEAT_USER,
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    volumeMounts: [
      { ...logs, mountPath: LOG_DIRECTORY, readOnly: true },
      { name: 'filebeat-config', mountPath: CONFIG_DIRECTORY, readOnly: true },
      { name: 'filebeat-data', mountPath: DATA_DIRECTORY },
    ],
  };
}
