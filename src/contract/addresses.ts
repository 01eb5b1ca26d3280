/** IPv4 and MAC addresses as the model compares them. */

/** A dotted quad as an unsigned number; undefined when it is not one. No leading zeros: some readers take them as octal. */
export function parseIpv4(text: string): number | undefined {
  if (text.length > 15) return undefined;
  let value = 0;
  let octet = -1; // none of its digits seen yet
  let dots = 0;
  // by hand, since every packet of the boot plane comes through here
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === DOT) {
      if (octet < 0 || ++dots > 3) return undefined;
      value = value * 256 + octet;
      octet = -1;
    } else {
      const digit = code - ZERO;
      if (digit < 0 || digit > 9 || octet === 0) return undefined;
      octet = octet < 0 ? digit : octet * 10 + digit;
      if (octet > 255) return undefined;
    }
  }
  return dots === 3 && octet >= 0 ? value * 256 + octet : undefined;
}

const DOT = 46;
const ZERO = 48;

export function formatIpv4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 0xff}.${(value >>> 8) & 0xff}.${value & 0xff}`;
}

export interface Subnet {
  /** Network address. */
  readonly first: number;
  /** Broadcast address. */
  readonly last: number;
  readonly prefix: number;
}

/** A CIDR such as 192.168.50.0/24; undefined when malformed or when host bits are set. */
export function parseSubnet(cidr: string): Subnet | undefined {
  const [address, length, ...rest] = cidr.split('/');
  const first = parseIpv4(address ?? '');
  if (first === undefined || rest.length > 0 || !/^\d{1,2}$/.test(length ?? '') || Number(length) > 32) return undefined;
  const size = 2 ** (32 - Number(length));
  return first % size === 0 ? { first, last: first + size - 1, prefix: Number(length) } : undefined;
}

/** The subnet that `cidr` would be with its host bits cleared: for "Did you mean …?". */
export function suggestSubnet(cidr: string): string | undefined {
  const [address, length] = cidr.split('/');
  const value = parseIpv4(address ?? '');
  const prefix = Number(length);
  if (value === undefined || !Number.isInteger(prefix) || prefix < 0 || prefix > 32) return undefined;
  const size = 2 ** (32 - prefix);
  return `${formatIpv4(value - (value % size))}/${prefix}`;
}

/** Whether `address` is a usable host of `subnet`: neither its network nor its broadcast address (RFC 3021 exempts /31, /32). */
export function isHostOf(address: number, subnet: Subnet): boolean {
  if (address < subnet.first || address > subnet.last) return false;
  return subnet.prefix >= 31 || (address !== subnet.first && address !== subnet.last);
}

/**
 * aa:bb:cc:dd:ee:ff in lower case, from colons or dashes; undefined when it is no unicast EUI-48: what a machine may have. The boot plane reads any address
 * that a packet carries by its own normalizeMac.
 */
export function unicastMac(text: string): string | undefined {
  if (!/^[0-9a-f]{2}(?:([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4})$/i.test(text)) return undefined;
  const mac = text.toLowerCase().replaceAll('-', ':');
  const isGroup = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
  return isGroup || mac === '00:00:00:00:00:00' ? undefined : mac;
}
