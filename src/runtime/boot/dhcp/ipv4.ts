/** IPv4 addresses as the DHCP plane needs them: unsigned 32-bit numbers inside, dotted quads outside. */
export interface Ipv4Subnet {
  readonly cidr: string;
  readonly network: number;
  readonly mask: number;
  readonly prefix: number;
}

/** Undefined for anything but four decimal octets without leading zeros (which some parsers read as octal). */
export function parseIpv4(text: string): number | undefined {
  const octets = text.split('.');
  if (octets.length !== 4) return undefined;
  let value = 0;
  for (const octet of octets) {
    if (!/^(0|[1-9]\d{0,2})$/.test(octet)) return undefined;
    const number = Number(octet);
    if (number > 255) return undefined;
    value = value * 256 + number;
  }
  return value;
}

export function formatIpv4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 0xff}.${(value >>> 8) & 0xff}.${value & 0xff}`;
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
