/** kubeadm's configuration (v1beta4) from the flags of `bmctl cluster init`. Pure. */

import { Yaml } from 'cdk8s';
import { DNS_LABEL, DNS_SUBDOMAIN } from 'cdk8s-baremetal-contract';
import { ENABLED, onecloudNodeLabel } from 'cdk8s-baremetal-contract/onecloud/index';
import { clusterErrors } from './errors.ts';

export interface InitFlags {
  /** E.g. v1.33.1; kubeadm's own when absent. */
  readonly kubernetesVersion?: string;
  /** Address of this node that the API server announces. */
  readonly nodeIp?: string;
  readonly hostName?: string;
  /** HOST[:PORT] of a load balancer in front of several control planes. */
  readonly controlPlaneEndpoint?: string;
  /** An address that moves between control planes. */
  readonly highAvailabilityVip?: string;
  readonly podNetworkCidr?: string;
  readonly serviceCidr?: string;
  readonly nodeCidrMaskSize?: number;
  readonly imageRepository?: string;
  readonly apiserverCertExtraSans?: readonly string[];
  readonly enableHostAgent?: boolean;
  readonly baremetalNode?: boolean;
}

/** The original's numbers: a /24 of addresses for each node out of a /16. */
const POD_NETWORK = '10.40.0.0/16';
const SERVICE_NETWORK = '10.96.0.0/12';
const NODE_MASK = 24;
const API_PORT = 6443;

/** First Kubernetes whose kubeadm reads v1beta4. */
export const LEAST_KUBERNETES: readonly [number, number] = [1, 31];

/** @throws CodedError CLUSTER_INIT_FLAG */
export function kubeadmConfig(flags: InitFlags): string {
  check(flags);
  const { kubernetesVersion, nodeIp, hostName, imageRepository, apiserverCertExtraSans = [], nodeCidrMaskSize = NODE_MASK } = flags;
  const endpoint = endpointOf(flags);
  const api = 'kubeadm.k8s.io/v1beta4';
  const labels = [
    [onecloudNodeLabel.controller, ENABLED],
    ...(flags.enableHostAgent ? [[onecloudNodeLabel.host, ENABLED]] : []),
    ...(flags.baremetalNode ? [[onecloudNodeLabel.baremetal, ENABLED]] : []),
  ];
  const kubeletArgs = [
    { name: 'node-labels', value: labels.map(([name, value]) => `${name}=${value}`).join(',') },
    ...(nodeIp === undefined ? [] : [{ name: 'node-ip', value: nodeIp }]),
  ];
  const sans = [...new Set([...apiserverCertExtraSans, ...(flags.highAvailabilityVip === undefined ? [] : [flags.highAvailabilityVip])])];
  return Yaml.stringify(
    {
      apiVersion: api,
      kind: 'InitConfiguration',
      ...(nodeIp !== undefined && { localAPIEndpoint: { advertiseAddress: nodeIp, bindPort: API_PORT } }),
      nodeRegistration: { ...(hostName !== undefined && { name: hostName }), kubeletExtraArgs: kubeletArgs },
    },
    {
      apiVersion: api,
      kind: 'ClusterConfiguration',
      ...(kubernetesVersion !== undefined && { kubernetesVersion }),
      ...(endpoint !== undefined && { controlPlaneEndpoint: endpoint }),
      ...(imageRepository !== undefined && { imageRepository }),
      networking: { podSubnet: flags.podNetworkCidr ?? POD_NETWORK, serviceSubnet: flags.serviceCidr ?? SERVICE_NETWORK },
      ...(sans.length > 0 && { apiServer: { certSANs: sans } }),
      controllerManager: { extraArgs: [{ name: 'node-cidr-mask-size', value: String(nodeCidrMaskSize) }] },
    },
    {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      // services here are stopped in order; host agents get their time
      shutdownGracePeriod: '60s',
      shutdownGracePeriodCriticalPods: '20s',
    },
  );
}

/** Whether other control planes will join, which wants the certificates uploaded. */
export function isHighlyAvailable(flags: InitFlags): boolean {
  return endpointOf(flags) !== undefined;
}

function endpointOf({ controlPlaneEndpoint, highAvailabilityVip }: InitFlags): string | undefined {
  const host = controlPlaneEndpoint ?? highAvailabilityVip;
  return host === undefined || /:\d+$/.test(host) ? host : `${host}:${API_PORT}`;
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;

function check(flags: InitFlags): void {
  const need = (flag: string, value: string | undefined, good: (value: string) => boolean, rule: string): void => {
    if (value !== undefined && !good(value)) throw clusterErrors.CLUSTER_INIT_FLAG({ flag, value, rule });
  };
  const address = (value: string): boolean => IPV4.test(value) || /^[0-9a-fA-F:]*:[0-9a-fA-F:]+$/.test(value);
  need('--node-ip', flags.nodeIp, address, 'must be an IP address of this node');
  need('--high-availability-vip', flags.highAvailabilityVip, address, 'must be an IP address');
  need(
    '--host-name',
    flags.hostName,
    (name) => name.length <= 253 && DNS_SUBDOMAIN.test(name),
    'must be lower-case letters, digits, "-" and "."',
  );
  need('--kubernetes-version', flags.kubernetesVersion, isSupported, `must be v${LEAST_KUBERNETES.join('.')}.0 or later`);
  need('--control-plane-endpoint', flags.controlPlaneEndpoint, isEndpoint, 'must be HOST or HOST:PORT');
  for (const [flag, value] of [
    ['--pod-network-cidr', flags.podNetworkCidr],
    ['--service-cidr', flags.serviceCidr],
  ] as const)
    need(flag, value, isCidr, 'must be a network such as 10.40.0.0/16');
  const mask = flags.nodeCidrMaskSize;
  const prefix = Number((flags.podNetworkCidr ?? POD_NETWORK).split('/')[1]);
  need(
    '--node-cidr-mask-size',
    mask === undefined ? undefined : String(mask),
    () => Number.isInteger(mask) && Number(mask) > prefix && Number(mask) - prefix <= 16,
    `must be a prefix length between ${prefix + 1} and ${prefix + 16}, inside the pod network`,
  );
}

function isSupported(version: string): boolean {
  const match = /^v?(\d+)\.(\d+)\.\d+$/.exec(version);
  const [major, minor] = [Number(match?.[1]), Number(match?.[2])];
  return match !== null && (major > LEAST_KUBERNETES[0] || (major === LEAST_KUBERNETES[0] && minor >= LEAST_KUBERNETES[1]));
}

function isEndpoint(text: string): boolean {
  const [host = '', port, ...more] = text.split(':');
  const named = DNS_SUBDOMAIN.test(host) || DNS_LABEL.test(host) || IPV4.test(host);
  return more.length === 0 && named && (port === undefined || (/^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) <= 65535));
}

function isCidr(text: string): boolean {
  const [address = '', prefix = '', ...more] = text.split('/');
  const bits = address.includes(':') ? 128 : 32;
  const isAddress = bits === 128 ? /^[0-9a-fA-F:]+$/.test(address) : IPV4.test(address);
  return more.length === 0 && isAddress && /^\d{1,3}$/.test(prefix) && Number(prefix) <= bits;
}
