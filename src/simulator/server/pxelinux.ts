/** What pxelinux does with its configuration: which names it asks for, and what the chosen label says. */
import type { BootLease } from './dhcp-client.ts';

export type PxelinuxChoice =
  /** Leave PXE for the firmware's next device. */
  | { readonly kind: 'local' }
  /** `append` without `initrd=`; what `ipappend` adds is in it. */
  | { readonly kind: 'kernel'; readonly kernel: string; readonly initrd: string | undefined; readonly append: readonly string[] };

/** The names below pxelinux.cfg/ in the order of the manual: UUID, 01-<mac>, the address in hex cut digit by digit, default. */
export function configNames(uuid: string, mac: string, address: string): string[] {
  const hex = address
    .split('.')
    .map((octet) => Number(octet).toString(16).toUpperCase().padStart(2, '0'))
    .join('');
  const byAddress = Array.from({ length: hex.length }, (_, cut) => hex.slice(0, hex.length - cut));
  return [uuid, `01-${mac.replaceAll(':', '-')}`, ...byAddress, 'default'].map((name) => `pxelinux.cfg/${name}`);
}

/** The default label of a configuration. Undefined when it names none that is there. */
export function chooseLabel(text: string, mac: string, lease: BootLease): PxelinuxChoice | undefined {
  let chosen: string | undefined;
  const labels = new Map<string, Map<string, string>>();
  let current: Map<string, string> | undefined;
  for (const line of text.split('\n')) {
    const [, keyword = '', value = ''] = /^\s*(\S+)\s*(.*?)\s*$/.exec(line) ?? [];
    if (keyword === '' || keyword.startsWith('#')) continue;
    if (keyword.toLowerCase() === 'default') chosen = value;
    else if (keyword.toLowerCase() === 'label') {
      current = new Map();
      labels.set(value, current);
    } else current?.set(keyword.toLowerCase(), value);
  }
  const label = labels.get(chosen ?? '');
  if (!label) return undefined;
  const kernel = label.get('kernel') ?? label.get('linux');
  if (label.has('localboot') || kernel === 'chain.c32') return { kind: 'local' };
  if (kernel === undefined) return undefined;
  const words = (label.get('append') ?? '').split(/\s+/).filter((word) => word !== '');
  const initrd = words.find((word) => word.startsWith('initrd='))?.slice('initrd='.length) ?? label.get('initrd');
  const flags = Number(label.get('ipappend') ?? 0);
  const { address, bootServer, gateway = '', netmask } = lease;
  const added = [
    ...(flags & 1 ? [`ip=${address}:${bootServer}:${gateway}:${netmask}`] : []),
    ...(flags & 2 ? [`BOOTIF=01-${mac.replaceAll(':', '-')}`] : []),
  ];
  return { kind: 'kernel', kernel, initrd, append: [...words.filter((word) => !word.startsWith('initrd=')), ...added] };
}
