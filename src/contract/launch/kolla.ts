/** kolla's container contract as far as manifests and the programs in the containers must agree on it. */

export const kollaPath = {
  /** Where a container looks for config.yaml or config.json and the files that it names. */
  configFiles: '/var/lib/kolla/config_files',
  /** KOLLA_RUN_DIR of pods whose configuration an init container places: kolla's own default, "/", cannot be shared. */
  runDirectory: '/run/kolla',
  /** What the image had where the config puts something. */
  defaults: '/etc/kolla/defaults',
  /** On the host: a directory for each service. */
  nodeConfig: '/etc/kolla',
  logs: '/var/log/kolla',
} as const;

export const KOLLA_CONFIG_FILE_NAME = 'config.json';

export const kollaVariable = {
  strategy: 'KOLLA_CONFIG_STRATEGY',
  /** Only the prompt of a shell in the container shows it. */
  serviceName: 'KOLLA_SERVICE_NAME',
  timeZone: 'TZ',
  /** Set: an init container has run kolla_set_configs. */
  prepared: 'KOLLA_PREPARED',
  runDirectory: 'KOLLA_RUN_DIR',
  bootstrap: 'KOLLA_BOOTSTRAP',
  upgrade: 'KOLLA_UPGRADE',
  onlineMigration: 'KOLLA_OSM',
  upgradeCheck: 'KOLLA_UPGRADE_CHECK',
} as const;

/** Removed from kolla as CVE-2022-38060: never set, and ignored by our programs. */
export const KOLLA_REFUSED_VARIABLES: readonly string[] = ['KOLLA_CONFIG', 'KOLLA_CONFIG_FILE'];

export type KollaConfigStrategy = 'COPY_ALWAYS' | 'COPY_ONCE';
export const KOLLA_CONFIG_STRATEGIES: readonly string[] = ['COPY_ALWAYS', 'COPY_ONCE'] satisfies KollaConfigStrategy[];

/** config.json, as kolla_set_configs reads it. */
export interface KollaConfig {
  /** With shell quoting, or as a list of arguments. */
  readonly command: string | readonly string[];
  readonly config_files?: readonly KollaConfigFile[];
  readonly directories?: readonly KollaOwnedPath[];
  readonly files?: readonly KollaOwnedPath[];
  readonly permissions?: readonly KollaPermission[];
}

export interface KollaConfigFile {
  /** Absolute, may be a pattern. */
  readonly source: string;
  /** Absolute; "/" at its end: into. */
  readonly dest: string;
  /** "user", "user:group" or numbers. Needed unless preserve_properties is true. */
  readonly owner?: string;
  /** Three or four octal digits. Needed unless preserve_properties is true. */
  readonly perm?: string;
  readonly optional?: boolean;
  readonly merge?: boolean;
  readonly preserve_properties?: boolean;
}

export interface KollaOwnedPath {
  readonly path: string;
  readonly owner: string;
  readonly perm: string;
}

export interface KollaPermission {
  /** Absolute, may be a pattern. */
  readonly path: string;
  readonly owner: string;
  readonly perm?: string;
  readonly recurse?: boolean;
  readonly exclude?: readonly string[];
}
