/** IPv4 networks as the DHCP plane needs them: unsigned 32-bit numbers inside, dotted quads outside. */
import { formatIpv4, parseIpv4 } from 'cdk8s-baremetal-contract/addresses';

export { formatIpv4, parseIpv4 };

export interface Ipv4Subnet {
  readonly cidr: string;
  readonly network: number;
  readonly mask: number;
  readonly prefix: number;
}

/** Undefined unless `text` is `network/prefix` with no host bits set. */
export function parseIpv4Subnet(text: string): Ipv4Subnet | undefined {
  const match = /^([\d.]+)\/(\d{1,2})$/.exec(text);
  const network = parseIpv4(match?.[1] ?? '');
  const prefix = Number(match?.[2] ?? Number.NaN);
  if (network === undefined || !(prefix >= 0 && prefix <= 32)) return undefined;
  const mask = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
  if ((network & mask) >>> 0 !== network) return undefined;
  return { cidr: text, network, mask, prefix };
}

export function subnetContains(subnet: Ipv4Subnet, address: number): boolean {
  return (address & subnet.mask) >>> 0 === subnet.network;
}

/** The all-ones host of the subnet. */
export function broadcastOf(subnet: Ipv4Subnet): number {
  return (subnet.network | ~subnet.mask) >>> 0;
}
