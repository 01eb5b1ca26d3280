/** The three values of bms-core's configuration that follow from the VIP of VLAN 1800 (row 000-6): derived, and checked. */
import type { BmsCoreConfigInput } from '../bms-core-config.ts';
import type { CodedError } from '../errors.ts';
import { port } from '../ports.ts';
import { configErrors } from './errors.ts';
import { isIpv6 } from './network-types.ts';

/** Path of task notifications at bms_control. */
export const SCHEDULER_CALLBACK_PATH = '/bms/v1/task/pxe/notify';

export interface DerivedOptions {
  /** Members of the site's ZooKeeper ensemble, `host` or `host:port` (default port 2181). None: ZooKeeper is behind the VIP. */
  readonly ensembleHosts?: readonly string[];
}

export interface DerivedValues {
  readonly pxe: { readonly nfs_server_ip: string };
  readonly center: { readonly scheduler_callback: string };
  readonly sw_coordination: { readonly backend_url: string };
}

/** What the configuration must say about `vip1800`; merge it into what `bmsCoreConfig.render` gets. */
export function deriveFromVip1800(vip1800: string, { ensembleHosts = [] }: DerivedOptions = {}): DerivedValues {
  const members = ensembleHosts.length > 0 ? ensembleHosts : [inUrl(vip1800)];
  return {
    pxe: { nfs_server_ip: vip1800 },
    center: { scheduler_callback: `http://${inUrl(vip1800)}:${port.schedulerCallback}${SCHEDULER_CALLBACK_PATH}` },
    sw_coordination: { backend_url: `kazoo://${members.map((member) => hostPort(parseMember(member))).join(',')}` },
  };
}

export interface DerivedInput {
  readonly pxe?: BmsCoreConfigInput['pxe'];
  readonly center?: BmsCoreConfigInput['center'];
  readonly sw_coordination?: BmsCoreConfigInput['sw_coordination'];
}

/**
 * One CONFIG_DERIVED_MISMATCH per value that contradicts the VIP; values that are not given contradict nothing. A kazoo
 * backend may name the VIP and members of the ensemble, no other host; kubernetes:// and memory:// name none.
 */
export function checkDerived(
  values: DerivedInput,
  { vip1800, ensembleHosts = [] }: DerivedOptions & { readonly vip1800: string },
): readonly CodedError[] {
  const expected = deriveFromVip1800(vip1800, { ensembleHosts });
  const problems: CodedError[] = [];
  const mismatch = (section: string, key: string, value: string, right: string, reason: string) =>
    problems.push(configErrors.CONFIG_DERIVED_MISMATCH({ section, key, value, expected: right, reason }));

  const nfs = values.pxe?.nfs_server_ip;
  if (nfs !== undefined && nfs !== expected.pxe.nfs_server_ip) {
    mismatch('pxe', 'nfs_server_ip', nfs, expected.pxe.nfs_server_ip, `is not the VIP of VLAN 1800, ${vip1800}`);
  }

  const callback = values.center?.scheduler_callback;
  if (callback !== undefined && callback !== expected.center.scheduler_callback) {
    const reason = `is not bms_control's address behind the VIP of VLAN 1800, ${vip1800}`;
    mismatch('center', 'scheduler_callback', callback, expected.center.scheduler_callback, reason);
  }

  const backend = values.sw_coordination?.backend_url;
  if (backend?.startsWith('kazoo://')) {
    const allowed = new Set([inUrl(vip1800), ...ensembleHosts].map((member) => hostPort(parseMember(member))));
    const strangers = kazooMembers(backend).filter((member) => !allowed.has(member));
    if (strangers.length > 0) {
      const members = ensembleHosts.length > 0 ? ` nor a member of the site's ensemble, ${ensembleHosts.join(', ')}` : '';
      const reason = `names ${strangers.join(', ')}, which is neither the VIP of VLAN 1800, ${vip1800}${members}`;
      mismatch(
        'sw_coordination',
        'backend_url',
        backend,
        expected.sw_coordination.backend_url,
        members === '' ? reason.replace('neither', 'not') : reason,
      );
    }
  }
  return problems;
}

/** `host:port` of each server in a kazoo:// URL. */
export function kazooMembers(url: string): readonly string[] {
  const [servers = ''] = url.slice('kazoo://'.length).split('/');
  return servers.split(',').map((server) => hostPort(parseMember(server)));
}

function parseMember(member: string): { host: string; port: number } {
  const [, host = member, digits] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(isIpv6(member) ? `[${member}]` : member) ?? [];
  return { host: host.toLowerCase(), port: digits === undefined ? port.zookeeper : Number(digits) };
}

function hostPort(member: { host: string; port: number }): string {
  return `${member.host}:${member.port}`;
}

function inUrl(address: string): string {
  return isIpv6(address) ? `[${address}]` : address;
}
