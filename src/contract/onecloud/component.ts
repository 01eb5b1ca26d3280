/** What one row of the catalog says of a component. */
import type { ConfigFacts, ConfigTemplate } from './config-templates/template.ts';
import type { CredentialKey } from './names.ts';

/** `StatefulDeployment`: a Deployment with a claim of its own, as the original calls it. */
export type ComponentKind = 'Deployment' | 'StatefulDeployment' | 'DaemonSet' | 'CronJob';

export interface ComponentPort {
  readonly name: string;
  /** What the program listens on, and the Service's port. */
  readonly port: number;
  /** The node's port; always that of the Service unless a cluster says otherwise. Absent: only inside the cluster. */
  readonly nodePort?: number;
  readonly protocol?: 'TCP' | 'UDP';
}

export interface ComponentStorage {
  /** Kubernetes quantity of the claim, e.g. 100G. */
  readonly size: string;
  readonly mountPath: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A folder of the node, and why the component cannot do without it. */
export interface HostFolder {
  readonly name: string;
  readonly path: string;
  readonly reason: string;
  readonly mountPath?: string;
  readonly type?: 'Directory' | 'DirectoryOrCreate';
  readonly readOnly?: true;
  /** What is mounted below it inside the container must be seen by the node. */
  readonly propagation?: 'Bidirectional' | 'HostToContainer';
}

/** Runs as part of the node rather than as a guest on it. Each right has its reason. */
export interface HostNeeds {
  readonly network?: true;
  readonly pid?: true;
  readonly ipc?: true;
  /** Why `privileged: true`; absent: not privileged. */
  readonly privileged?: string;
  /** Only on nodes with these labels. */
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly folders?: readonly HostFolder[];
  /** `OnDelete`: an update waits until somebody deletes the pod, since a restart disturbs what runs on the node. */
  readonly update?: { readonly type: 'OnDelete' } | { readonly type: 'RollingUpdate'; readonly maxUnavailable: number };
  /** Time that a stopping pod gets. */
  readonly graceSeconds?: number;
}

/** A further container of the pod. */
export interface Companion {
  readonly name: string;
  /** Key of the component's overrides that sets this container's image. */
  readonly override: string;
  readonly image: string;
  /** A tag of its own, not the cluster's version. */
  readonly tag?: string;
  readonly command: readonly string[];
  /** File name in /etc/yunion of its own configuration, and the template. */
  readonly config?: { readonly file: string; readonly template: ConfigTemplate };
  /** Sees everything that the main container sees. */
  readonly sharesConfig?: true;
  /** Names of the folders of the node that it sees otherwise. */
  readonly folders?: readonly string[];
}

export interface Component {
  /** Its key in `spec`, e.g. regionServer. */
  readonly key: string;
  /** In object names and labels, e.g. region: default-region. */
  readonly name: string;
  readonly kind: ComponentKind;
  readonly image: string;
  /** A tag of its own, not the cluster's version. */
  readonly tag?: string;
  /** The enterprise edition has another image, with the suffix -ee. */
  readonly editions?: true;
  readonly command?: readonly string[];
  readonly ports?: readonly ComponentPort[];
  /** Also reachable through an Ingress, at this port. */
  readonly ingress?: { readonly port: string };
  readonly storage?: ComponentStorage;
  /** Folder that the component's containers share. */
  readonly scratch?: readonly { readonly name: string; readonly mountPath: string }[];
  /** Where its configuration is mounted and how it is made. Absent: it needs none. */
  readonly config?: { readonly path: string; readonly template: ConfigTemplate };
  /** Its own database and MySQL account. */
  readonly database?: { readonly name: string; readonly user: string };
  /** Its Keystone account. */
  readonly account?: { readonly user: string };
  /** Further secrets that its configuration names. */
  readonly secrets?: readonly CredentialKey[];
  /** Key of the component whose database, account and Secret it uses. */
  readonly credentialsOf?: string;
  /** An init container brings the database to the program's version before it starts. */
  readonly initializesDatabase?: true;
  /** What the operator registers in Keystone once the component runs. */
  readonly endpoint?: { readonly service: string; readonly type: string; readonly port: string; readonly path?: string };
  /** Keys of the components that must run before this one is applied. */
  readonly after: readonly string[];
  readonly host?: HostNeeds;
  /** Capabilities that the program keeps when all others are dropped. */
  readonly capabilities?: readonly string[];
  readonly podLabels?: Readonly<Record<string, string>>;
  readonly companions?: readonly Companion[];
  /** Why there must never be two of it, not even for the moment of an update. */
  readonly single?: string;
  /** Cron expression of a CronJob. */
  readonly schedule?: string;
  readonly env?: readonly { readonly name: string; readonly value: string | ((hostOf: ConfigFacts['hostOf']) => string) }[];
}
