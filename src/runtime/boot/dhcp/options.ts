/** Option numbers with their names, and typed reading and writing of their values. */
import { type DhcpMessage, decodeSubOptions, NO_ADDRESS } from './codec.ts';
import { formatIpv4, parseIpv4 } from './ipv4.ts';

export const OPTION = {
  subnetMask: 1,
  router: 3,
  dns: 6,
  hostname: 12,
  domainName: 15,
  mtu: 26,
  broadcastAddress: 28,
  ntp: 42,
  vendorSpecific: 43,
  requestedAddress: 50,
  leaseTime: 51,
  messageType: 53,
  serverId: 54,
  parameterList: 55,
  message: 56,
  maxMessageSize: 57,
  renewalTime: 58,
  rebindingTime: 59,
  vendorClass: 60,
  clientId: 61,
  tftpServer: 66,
  bootFile: 67,
  userClass: 77, // RFC 3004
  relayAgent: 82, // RFC 3046
  clientArch: 93, // RFC 4578
  clientNdi: 94,
  clientGuid: 97,
  tftpServerAddress: 150, // RFC 5859
  ipxe: 175, // Etherboot's encapsulated options, kept by iPXE
} as const;

/** Sub-options of 43 as PXE 2.1 defines them. */
export const PXE = { discoveryControl: 6, bootServers: 8, bootMenu: 9, menuPrompt: 10, bootItem: 71 } as const;

/** Relay agent sub-options. */
export const RELAY = { circuitId: 1, remoteId: 2, linkSelection: 5 } as const; // 5: RFC 3527

const TYPES = ['discover', 'offer', 'request', 'decline', 'ack', 'nak', 'release', 'inform'] as const;
export type DhcpType = (typeof TYPES)[number];

/** Undefined for plain BOOTP and for types this server does not know (RFC 4388 lease queries …). */
export function messageType(message: DhcpMessage): DhcpType | undefined {
  return TYPES[(message.options.get(OPTION.messageType)?.[0] ?? 0) - 1];
}

export function typeOption(type: DhcpType): Uint8Array {
  return Uint8Array.of(TYPES.indexOf(type) + 1);
}

/** `aa:bb:cc:dd:ee:ff` for Ethernet, undefined for anything else. */
export function macOf(message: DhcpMessage): string | undefined {
  const { hardwareType, hardwareAddress } = message;
  if (hardwareType !== 1 || hardwareAddress.length !== 6) return undefined;
  let mac = '';
  for (const byte of hardwareAddress) mac += mac === '' ? OCTETS[byte] : `:${OCTETS[byte]}`;
  return mac === '00:00:00:00:00:00' ? undefined : mac;
}

const OCTETS: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(/[:-]/), (octet) => Number.parseInt(octet, 16));
}

/** The first address of an option; undefined when it is absent or 0.0.0.0. */
export function addressOption(message: DhcpMessage, code: number): string | undefined {
  const value = message.options.get(code);
  if (!value || value.length < 4) return undefined;
  const address = formatIpv4(new DataView(value.buffer, value.byteOffset, 4).getUint32(0));
  return address === NO_ADDRESS ? undefined : address;
}

/** Big-endian number of an option of one, two or four bytes. */
export function numberOption(message: DhcpMessage, code: number): number | undefined {
  const value = message.options.get(code);
  if (!value || ![1, 2, 4].includes(value.length)) return undefined;
  return value.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** Text with trailing NULs cut: several boot ROMs count them into the length. */
export function textOption(message: DhcpMessage, code: number): string | undefined {
  const value = message.options.get(code);
  return value && Buffer.from(value).toString('latin1').replace(/\0+$/, '');
}

export function addressesValue(...addresses: readonly string[]): Uint8Array {
  const value = new Uint8Array(addresses.length * 4);
  const view = new DataView(value.buffer);
  for (const [index, address] of addresses.entries()) view.setUint32(index * 4, parseIpv4(address) ?? 0);
  return value;
}

export function uint32Value(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

export function uint16Value(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value);
}

export function textValue(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

/** The codes the client asks for; undefined when it names none. */
export function requestedOptions(message: DhcpMessage): ReadonlySet<number> | undefined {
  const list = message.options.get(OPTION.parameterList);
  return list && new Set(list);
}

/** First entry of option 93. The list is ordered by preference, and no firmware in the field sends more than one. */
export function clientArch(message: DhcpMessage): number | undefined {
  const value = message.options.get(OPTION.clientArch);
  return value && value.length >= 2 ? (value[0] ?? 0) * 256 + (value[1] ?? 0) : undefined;
}

/** What asks: the machine's own PXE or HTTP boot, iPXE, or nothing that boots (an operating system, a BMC). */
export type DhcpClientKind = 'pxe' | 'uefi-http' | 'ipxe' | 'other';

export function clientKind(message: DhcpMessage): DhcpClientKind {
  if (isIpxe(message)) return 'ipxe'; // before option 60: iPXE calls itself PXEClient too
  const vendor = textOption(message, OPTION.vendorClass) ?? '';
  if (vendor.startsWith('PXEClient')) return 'pxe';
  if (vendor.startsWith('HTTPClient')) return 'uefi-http';
  return 'other';
}

/** RFC 3004 wants length-prefixed classes; iPXE sends the bare word. Both are read. */
export function userClasses(message: DhcpMessage): readonly string[] {
  const value = message.options.get(OPTION.userClass);
  if (!value || value.length === 0) return [];
  const classes: string[] = [];
  let at = 0;
  while (at < value.length) {
    const length = value[at] ?? 0;
    if (length === 0 || at + 1 + length > value.length) return [Buffer.from(value).toString('latin1')];
    classes.push(Buffer.from(value.subarray(at + 1, at + 1 + length)).toString('latin1'));
    at += 1 + length;
  }
  return classes;
}

/** The machine's UUID of option 97 as text, "absent", or "malformed" (RFC 4578 section 2.3: type 0 and 16 bytes). */
export function clientGuid(
  message: DhcpMessage,
): { readonly state: 'absent' | 'malformed' } | { readonly state: 'ok'; readonly uuid: string } {
  const value = message.options.get(OPTION.clientGuid);
  if (!value) return { state: 'absent' };
  if (value.length !== 17 || value[0] !== 0) return { state: 'malformed' };
  // SMBIOS order: the first three groups are little-endian
  const order = [4, 3, 2, 1, 6, 5, 8, 7, 9, 10, 11, 12, 13, 14, 15, 16];
  const hex = order.map((index) => (value[index] ?? 0).toString(16).padStart(2, '0')).join('');
  return {
    state: 'ok',
    uuid: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`,
  };
}

/** Sub-options of 82; empty when there are none or they cannot be read (the bytes are echoed all the same). */
export function relayAgentOptions(message: DhcpMessage): ReadonlyMap<number, Uint8Array> {
  const value = message.options.get(OPTION.relayAgent);
  if (!value) return new Map();
  try {
    return decodeSubOptions(value, { padding: false });
  } catch {
    return new Map(); // a relay's private format is the relay's business
  }
}

function isIpxe(message: DhcpMessage): boolean {
  return userClasses(message).includes('iPXE') || message.options.has(OPTION.ipxe);
}
