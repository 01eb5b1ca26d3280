/**
 * LLDP frames as a network card heard them (IEEE 802.1AB-2016): which switch, and which of its ports, is at the other end of the cable. Pure; the
 * bytes come from whoever is on that cable, so nothing in them is believed but their own word, and nothing in them can throw.
 *
 *   destination 6 | source 6 | [ 802.1Q tag 4 ] | 88cc | type 7 bits, length 9 bits, value … | …
 */

import { canonicalAddress } from './ip-address.ts';

export interface LldpNeighbour {
  /** As a person writes it: a MAC or IP address, or the text. */
  readonly chassisId: string;
  readonly portId: string;
  /** For how long the word is good. 0: the neighbour says that it leaves. */
  readonly ttlSeconds: number;
  readonly portDescription?: string;
  readonly systemName?: string;
  readonly systemDescription?: string;
  readonly managementAddresses?: string[];
  /** The port's untagged VLAN (IEEE 802.1Q Annex D.2.1). */
  readonly portVlan?: number;
  /** Where the switch is managed (IEEE 802.1Q Annex D.2.8). */
  readonly managementVlan?: number;
}

export type DecodedLldp =
  | { readonly kind: 'neighbour'; readonly neighbour: LldpNeighbour }
  /** The whole frame counts for nothing (802.1AB section 9.2.8.7.1). */
  | { readonly kind: 'invalid'; readonly reason: string };

const ETHERTYPE_LLDP = 0x88cc;
const ETHERTYPE_VLAN = 0x8100;
const TYPE = {
  end: 0,
  chassisId: 1,
  portId: 2,
  ttl: 3,
  portDescription: 4,
  systemName: 5,
  systemDescription: 6,
  management: 8,
  own: 127,
} as const;
/** Numbers of address families (IANA). */
const FAMILY = { ipv4: 1, ipv6: 2, mac: 6 } as const;
/** IEEE 802.1's own TLVs. */
const OUI_8021 = '0080c2';
const SUBTYPE_8021 = { portVlan: 1, managementVlan: 7 } as const;
/** A frame that lists more has nothing more to say. */
const MOST_ADDRESSES = 8;

export function decodeLldp(frame: Uint8Array): DecodedLldp {
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  if (bytes.length < 14) return invalid('it is shorter than an Ethernet header');
  const tagged = bytes.readUInt16BE(12) === ETHERTYPE_VLAN && bytes.length >= 18;
  const start = tagged ? 16 : 12;
  if (bytes.readUInt16BE(start) !== ETHERTYPE_LLDP) return invalid('it is not LLDP');
  const values = valuesOf(bytes.subarray(start + 2));
  if (values === undefined) return invalid('a value is longer than the frame');
  // Section 8.2: these three, in this order, once each.
  const [chassis, port, ttl, ...rest] = values;
  if (chassis?.type !== TYPE.chassisId || port?.type !== TYPE.portId || ttl?.type !== TYPE.ttl)
    return invalid('it does not begin with chassis, port and time to live');
  if (rest.some(({ type }) => type === TYPE.chassisId || type === TYPE.portId || type === TYPE.ttl))
    return invalid('it names chassis, port or time to live twice');
  const chassisId = identifier(chassis.value, CHASSIS_SUBTYPE);
  const portId = identifier(port.value, PORT_SUBTYPE);
  if (chassisId === undefined || portId === undefined) return invalid('its chassis or its port has no identifier');
  if (ttl.value.length < 2) return invalid('its time to live is no number');
  return { kind: 'neighbour', neighbour: { chassisId, portId, ttlSeconds: ttl.value.readUInt16BE(0), ...optional(rest) } };
}

interface Value {
  readonly type: number;
  readonly value: Buffer;
}

/** What follows the end is padding: an Ethernet frame has 60 bytes at least. */
function valuesOf(bytes: Buffer): readonly Value[] | undefined {
  const values: Value[] = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const head = bytes.readUInt16BE(at);
    const [type, length] = [head >> 9, head & 0x1ff];
    if (type === TYPE.end) return values;
    if (at + 2 + length > bytes.length) return undefined;
    values.push({ type, value: bytes.subarray(at + 2, at + 2 + length) });
    at += 2 + length;
  }
  // without an end: some switches leave it away where the frame is full
  return values;
}

/** Of the subtypes, those that are not text (sections 8.5.2.2 and 8.5.3.2). */
const CHASSIS_SUBTYPE = { mac: 4, address: 5 } as const;
const PORT_SUBTYPE = { mac: 3, address: 4 } as const;

function identifier(value: Buffer, { mac, address }: { readonly mac: number; readonly address: number }): string | undefined {
  if (value.length < 2) return undefined;
  const [subtype, id] = [value.readUInt8(0), value.subarray(1)];
  if (subtype === mac && id.length === 6) return macText(id);
  if (subtype === address) return addressText(id.readUInt8(0), id.subarray(1)) ?? id.toString('hex');
  return printable(id) || id.toString('hex');
}

/** One that is malformed is passed over (section 9.2.8.7.2); of two, the first counts. */
function optional(values: readonly Value[]): Omit<LldpNeighbour, 'chassisId' | 'portId' | 'ttlSeconds'> {
  const textOf = (wanted: number): string => printable(values.find(({ type }) => type === wanted)?.value ?? Buffer.alloc(0));
  const vlanOf = (subtype: number): number => {
    const own = values.find(
      ({ type, value }) => type === TYPE.own && value.length >= 6 && value.toString('hex', 0, 3) === OUI_8021 && value[3] === subtype,
    );
    return own?.value.readUInt16BE(4) ?? 0;
  };
  const portDescription = textOf(TYPE.portDescription);
  const systemName = textOf(TYPE.systemName);
  const systemDescription = textOf(TYPE.systemDescription);
  const addresses = values
    .flatMap(({ type, value }) => (type === TYPE.management ? managementAddress(value) : []))
    .slice(0, MOST_ADDRESSES);
  const [portVlan, managementVlan] = [vlanOf(SUBTYPE_8021.portVlan), vlanOf(SUBTYPE_8021.managementVlan)];
  return {
    ...(portDescription !== '' && { portDescription }),
    ...(systemName !== '' && { systemName }),
    ...(systemDescription !== '' && { systemDescription }),
    ...(addresses.length > 0 && { managementAddresses: addresses }),
    // 0 says that there is none
    ...(isVlan(portVlan) && { portVlan }),
    ...(isVlan(managementVlan) && { managementVlan }),
  };
}

/** Section 8.5.9: length of what follows | family | address | … */
function managementAddress(value: Buffer): string[] {
  const length = value[0] ?? 0;
  if (length < 2 || value.length < 1 + length) return [];
  const text = addressText(value.readUInt8(1), value.subarray(2, 1 + length));
  return text === undefined ? [] : [text];
}

function addressText(family: number, bytes: Buffer): string | undefined {
  if (family === FAMILY.ipv4 && bytes.length === 4) return bytes.join('.');
  if (family === FAMILY.ipv6 && bytes.length === 16) return canonicalAddress((bytes.toString('hex').match(/.{4}/g) ?? []).join(':'));
  if (family === FAMILY.mac && bytes.length === 6) return macText(bytes);
  return undefined;
}

function macText(bytes: Buffer): string {
  return (bytes.toString('hex').match(/../g) ?? []).join(':');
}

/** What a switch was told by whoever set it up, without what could play with a terminal. */
function printable(bytes: Buffer): string {
  return bytes
    .toString('utf8')
    .replace(/[\p{C}\u2028\u2029]+/gu, ' ')
    .trim();
}

function isVlan(id: number): boolean {
  return id >= 1 && id <= 4094;
}

function invalid(reason: string): DecodedLldp {
  return { kind: 'invalid', reason };
}
