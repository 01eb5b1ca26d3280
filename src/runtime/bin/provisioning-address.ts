/** Which of this machine's addresses is the one on the provisioning network. */
import type { NetworkInterfaceInfo } from 'node:os';
import { type BmsCoreConfig, parseIpv4, parseSubnet } from 'cdk8s-baremetal-contract';

/**
 * The address that the configuration names; else the interface's whose network the VIP (or the DHCP subnet) is in. The VIP itself, where
 * it is up on this node, is not it: it moves.
 */
export function provisioningAddress(
  config: Pick<BmsCoreConfig, 'dhcp' | 'pxe'>,
  interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>,
): string | undefined {
  const { server_ip: named, subnet } = config.dhcp;
  if (named !== undefined) return named;
  const vip = config.pxe.nfs_server_ip;
  const wanted = vip === undefined ? undefined : parseIpv4(vip);
  const range = subnet === undefined ? undefined : parseSubnet(subnet);
  for (const info of Object.values(interfaces).flatMap((infos) => infos ?? [])) {
    const address = parseIpv4(info.address);
    if (info.family !== 'IPv4' || info.internal || address === undefined || info.address === vip) continue;
    if (range && address >= range.first && address <= range.last) return info.address;
    const prefix = Number(info.cidr?.split('/')[1] ?? 32);
    const size = 2 ** (32 - prefix);
    if (wanted !== undefined && size > 1 && Math.floor(wanted / size) === Math.floor(address / size)) return info.address;
  }
  return undefined;
}
