/**
 * /etc/network/interfaces (interfaces(5)), what nova's net-static.ubuntu and net-dhcp.ubuntu templates produced: stanza by stanza static or DHCP, as
 * the interface is.
 */
import type { ResolvedAddress, ResolvedNetwork } from './resolve.ts';

export function renderInterfacesFile({ interfaces, search }: ResolvedNetwork): string {
  const lines = ['# Written by bms-core for this instance.', '', 'auto lo', 'iface lo inet loopback'];
  for (const { name, ipv4, ipv6, dns, mtu } of interfaces) {
    if (ipv4 === undefined && ipv6 === undefined) continue;
    lines.push('', `auto ${name}`);
    let names = [
      ...(dns.length > 0 ? [`    dns-nameservers ${dns.join(' ')}`] : []),
      ...(search.length > 0 ? [`    dns-search ${search.join(' ')}`] : []),
      ...(mtu === undefined ? [] : [`    mtu ${mtu}`]),
    ];
    const stanza = (family: 'inet' | 'inet6', how: string, address?: ResolvedAddress): void => {
      lines.push(`iface ${name} ${family} ${how}`);
      if (address) {
        lines.push(`    address ${address.address}`, `    netmask ${address.netmask ?? address.prefix}`);
        if (address.gateway !== undefined) lines.push(`    gateway ${address.gateway}`);
      }
      lines.push(...names);
      names = []; // once per interface
    };
    if (ipv4 !== undefined) stanza('inet', ipv4 === 'dhcp' ? 'dhcp' : 'static', ipv4 === 'dhcp' ? undefined : ipv4);
    if (ipv6 !== undefined) stanza('inet6', ipv6 === 'auto' ? 'auto' : 'static', ipv6 === 'auto' ? undefined : ipv6);
  }
  return `${lines.join('\n')}\n`;
}
