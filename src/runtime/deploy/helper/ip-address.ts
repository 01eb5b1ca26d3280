/** Just enough of addresses to compare two of them: the ramdisk's word and the socket's. */
import { parseIpv4 } from 'cdk8s-baremetal-contract/addresses';

export function isIPv4(text: string): boolean {
  return parseIpv4(text) !== undefined;
}

export function isIPv6(text: string): boolean {
  if (!/^[0-9a-f:.]{2,45}$/i.test(text) || !text.includes(':')) return false;
  return URL.canParse(`http://[${text}]/`);
}

/** One spelling per address: lower case, shortest form, and `::ffff:10.0.0.5` (a dual-stack socket's IPv4) as `10.0.0.5`. */
export function canonicalAddress(text: string): string {
  if (!isIPv6(text)) return text;
  const short = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short);
  if (mapped === null) return short;
  const [high = 0, low = 0] = [mapped[1], mapped[2]].map((part) => Number.parseInt(part ?? '0', 16));
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
