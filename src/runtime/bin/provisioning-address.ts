/** Which of this machine's addresses is the one on the provisioning network. */
import type { NetworkInterfaceInfo } from 'node:os';
import { type BmsCoreConfig, parseIpv4, parseSubnet } from 'cdk8s-baremetal-contract';

/**
 * The address that the configuration names; else the interface's that is in the DHCP subnet, where the machines are; else the one's whose network the VIP is
 * in. The VIP itself, where it is up on this node, is not it: it moves.
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
  const own = Object.values(interfaces)
    .flatMap((infos) => infos ?? [])
    .filter(({ family, internal, address }) => family === 'IPv4' && !internal && address !== vip)
    .flatMap(({ address, cidr }) => {
      const number = parseIpv4(address);
      return number === undefined ? [] : [{ address, number, size: 2 ** (32 - Number(cidr?.split('/')[1] ?? 32)) }];
    });
  const amongMachines = own.find(({ number }) => range && number >= range.first && number <= range.last);
  const besideVip = own.find(
    ({ number, size }) => wanted !== undefined && size > 1 && Math.floor(wanted / size) === Math.floor(number / size),
  );
  return (amongMachines ?? besideVip)?.address;
}
