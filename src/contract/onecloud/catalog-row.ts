/** What the rows of the catalog have in common. */
import type { ComponentPort, HostFolder } from './component.ts';
import { onecloudLabel, onecloudPath } from './names.ts';

/** A port that every node opens: `port` and `nodePort` are one number. */
export const exposed = (number: number, name = 'api'): ComponentPort => ({ name, port: number, nodePort: number });
export const inside = (number: number, name = 'api'): ComponentPort => ({ name, port: number });
export const configFile = (name: string): string => `${onecloudPath.configDirectory}/${name}.conf`;
/** How OneCloud's own programs are started. */
export const daemon = (program: string, file = program): string[] => [`${onecloudPath.binaries}/${program}`, '--config', configFile(file)];

/** The original mounts all of /var/run, Docker's socket included. */
export const DEPLOY_SOCKET: HostFolder = {
  name: 'deploy-socket',
  path: onecloudPath.deploySocketDirectory,
  type: 'DirectoryOrCreate',
  reason: "host-deployer's socket: it opens disk images on behalf of others",
};
export const WANTS_HOST_DEPLOYER = { [onecloudLabel.hostDeployer]: '' };

/** The release of OVN that v3.1 goes with. */
export const OVN = { image: 'openvswitch', tag: '2.9.6-2' };
