/** OpenStack's network_data.json, read by cloud-init, Afterburn and glean from a config drive. */
import type { ResolvedAddress, ResolvedNetwork } from './resolve.ts';

export interface NetworkData {
  readonly links: readonly {
    readonly id: string;
    readonly type: 'phy';
    readonly ethernet_mac_address: string;
    readonly mtu: number | null;
  }[];
  readonly networks: readonly Readonly<Record<string, unknown>>[];
  readonly services: readonly { readonly type: 'dns'; readonly address: string }[];
}

export function networkData({ interfaces }: ResolvedNetwork): NetworkData {
  const servers = [...new Set(interfaces.flatMap(({ dns }) => dns))];
  return {
    links: interfaces.map(({ name, mac, mtu }) => ({ id: name, type: 'phy', ethernet_mac_address: mac, mtu: mtu ?? null })),
    networks: interfaces.flatMap(({ name, ipv4, ipv6, dns }) => [
      ...(ipv4 === undefined ? [] : [network(name, 4, ipv4, dns)]),
      ...(ipv6 === undefined ? [] : [network(name, 6, ipv6, dns)]),
    ]),
    services: servers.map((address) => ({ type: 'dns', address })),
  };
}

function network(link: string, family: 4 | 6, how: 'dhcp' | 'auto' | ResolvedAddress, dns: readonly string[]): Record<string, unknown> {
  const id = `${link}-ipv${family}`;
  // one by SLAAC is the specification's `ipv6_slaac`
  if (typeof how === 'string') return { id, link, type: how === 'dhcp' ? 'ipv4_dhcp' : 'ipv6_slaac', network_id: id };
  const any = family === 4 ? { network: '0.0.0.0', netmask: '0.0.0.0' } : { network: '::', netmask: '::' };
  const own = dns.filter((server) => server.includes(':') === (family === 6));
  return {
    id,
    link,
    type: `ipv${family}`,
    ip_address: family === 4 ? how.address : `${how.address}/${how.prefix}`,
    ...(how.netmask !== undefined && { netmask: how.netmask }),
    routes: how.gateway === undefined ? [] : [{ ...any, gateway: how.gateway }],
    ...(own.length > 0 && { services: own.map((address) => ({ type: 'dns', address })) }),
    network_id: id,
  };
}
