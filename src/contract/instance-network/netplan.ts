/** cloud-init's network configuration, version 2 (netplan's form): what a NoCloud seed calls `network-config`. JSON is YAML. */
import type { ResolvedAddress, ResolvedNetwork } from './resolve.ts';

export function netplan({ interfaces, search }: ResolvedNetwork): object {
  const ethernets = interfaces.map(({ name, mac, ipv4, ipv6, dns, mtu }) => {
    const fixed = [ipv4, ipv6].filter((one): one is ResolvedAddress => typeof one === 'object');
    const routes = fixed.flatMap(({ gateway, netmask }) =>
      gateway === undefined ? [] : [{ to: netmask === undefined ? '::/0' : '0.0.0.0/0', via: gateway }],
    );
    return [
      name,
      {
        match: { macaddress: mac },
        'set-name': name,
        dhcp4: ipv4 === 'dhcp',
        dhcp6: false,
        'accept-ra': ipv6 === 'auto',
        ...(fixed.length > 0 && { addresses: fixed.map(({ address, prefix }) => `${address}/${prefix}`) }),
        ...(routes.length > 0 && { routes }),
        ...(dns.length + search.length > 0 && { nameservers: { addresses: dns, search } }),
        ...(mtu !== undefined && { mtu }),
      },
    ];
  });
  return { version: 2, ethernets: Object.fromEntries(ethernets) as Record<string, unknown> };
}
