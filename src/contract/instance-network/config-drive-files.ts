/**
 * What is in the config drive of an instance, file by file; how a file system of them gets onto a disk is the deploy plane's. Two forms: OpenStack's, which
 * cloud-init, Ignition, Afterburn and glean read, and cloud-init's own NoCloud.
 */
import { renderInterfacesFile } from './interfaces-file.ts';
import { netplan } from './netplan.ts';
import { networkData } from './network-data.ts';
import type { ResolvedNetwork } from './resolve.ts';

export interface ConfigDriveContent {
  readonly instance: { readonly uuid: string; readonly name: string };
  readonly network?: ResolvedNetwork;
  /** Public keys that may log in. */
  readonly authorizedKeys?: readonly string[];
  /** What cloud-init or Ignition is given, as it is. */
  readonly userData?: string;
}

export interface ConfigDriveFile {
  /** Relative, with slashes. */
  readonly path: string;
  readonly content: string;
}

export interface ConfigDrive {
  /** The file system's label, by which the instance finds it. */
  readonly label: 'config-2' | 'cidata';
  readonly files: readonly ConfigDriveFile[];
}

const INTERFACES_FILE = 'content/0000';

export function openstackConfigDrive({ instance, network, authorizedKeys = [], userData }: ConfigDriveContent): ConfigDrive {
  const keys = authorizedKeys.map((key, index) => [`key-${index}`, key]);
  const metaData = {
    uuid: instance.uuid,
    name: instance.name,
    hostname: instance.name,
    launch_index: 0,
    ...(keys.length > 0 && { public_keys: Object.fromEntries(keys) as Record<string, string> }),
    // the older way, for readers that know no network_data.json: what nova injected
    ...(network && { network_config: { name: 'network_config', content_path: `/${INTERFACES_FILE}` } }),
  };
  return {
    label: 'config-2',
    files: [
      { path: 'openstack/latest/meta_data.json', content: json(metaData) },
      ...(network
        ? [
            { path: 'openstack/latest/network_data.json', content: json(networkData(network)) },
            { path: `openstack/${INTERFACES_FILE}`, content: renderInterfacesFile(network) },
          ]
        : []),
      ...(userData === undefined ? [] : [{ path: 'openstack/latest/user_data', content: userData }]),
    ],
  };
}

export function noCloudConfigDrive({ instance, network, authorizedKeys = [], userData }: ConfigDriveContent): ConfigDrive {
  const metaData = {
    'instance-id': instance.uuid,
    'local-hostname': instance.name,
    ...(authorizedKeys.length > 0 && { 'public-keys': authorizedKeys }),
  };
  return {
    label: 'cidata',
    files: [
      { path: 'meta-data', content: json(metaData) },
      // without the file the source is taken for none
      { path: 'user-data', content: userData ?? '#cloud-config\n' },
      ...(network ? [{ path: 'network-config', content: json(netplan(network)) }] : []),
    ],
  };
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
