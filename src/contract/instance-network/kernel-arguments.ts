/**
 * Static addresses as words of the kernel command line, nova's `ip=addr::gw:mask::ethN:off` with name servers behind it as kernels read them since 3.10.
 * Names of interfaces follow from the hardware here, so `ifname=ethN:<mac>` goes before (dracut renames by it; the kernel and initramfs-tools pass
 * over it), and BOOTIF tells initramfs-tools which one boots. Interfaces by DHCP say so.
 */
import type { ResolvedAddress, ResolvedNetwork } from './resolve.ts';

/** `::<hostname>:` is left empty, as in the original: the instance has its name from its config drive. */
export function kernelArguments({ interfaces }: ResolvedNetwork): string[] {
  const words: string[] = [];
  for (const { name, mac, boots, ipv4, ipv6, dns } of interfaces) {
    const told = [...v4(ipv4, name, dns), ...v6(ipv6, name)];
    if (told.length === 0) continue;
    words.push(`ifname=${name}:${mac}`, ...told);
    if (boots) words.push(`BOOTIF=01-${mac.replaceAll(':', '-')}`);
  }
  return words;
}

function v4(ipv4: 'dhcp' | ResolvedAddress | undefined, name: string, dns: readonly string[]): string[] {
  if (ipv4 === undefined) return [];
  if (ipv4 === 'dhcp') return [`ip=:::::${name}:dhcp`];
  const servers = dns.filter((server) => !server.includes(':')).slice(0, 2);
  const { address, gateway = '', netmask = '' } = ipv4;
  return [`ip=${address}::${gateway}:${netmask}::${name}:off${servers.map((server) => `:${server}`).join('')}`];
}

function v6(ipv6: 'auto' | ResolvedAddress | undefined, name: string): string[] {
  if (ipv6 === undefined) return [];
  if (ipv6 === 'auto') return [`ip=${name}:auto6`];
  const { address, gateway, prefix } = ipv6;
  return [`ip=[${address}]::${gateway === undefined ? '' : `[${gateway}]`}:${prefix}::${name}:off`];
}
