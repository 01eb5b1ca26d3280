/**
 * DHCPv4 messages as bytes (RFC 2131 section 2, options RFC 2132), both directions: the server reads requests and writes
 * replies, the simulator's firmware does the reverse. Pure; throws nothing but DhcpCodecError.
 *
 *   0        1        2        3
 *  +--------+--------+--------+--------+
 *  | op     | htype  | hlen   | hops   |   0
 *  | xid                               |   4
 *  | secs            | flags (B…)      |   8
 *  | ciaddr  yiaddr  siaddr  giaddr    |  12   4 bytes each
 *  | chaddr                            |  28   16 bytes, hlen of them used
 *  | sname                             |  44   64 bytes, or options (52 = 2 or 3)
 *  | file                              | 108   128 bytes, or options (52 = 1 or 3)
 *  | magic 63 82 53 63                 | 236
 *  | options: code, length, value …    | 240
 *  +-----------------------------------+
 */
import { formatIpv4, parseIpv4 } from './ipv4.ts';

export class DhcpCodecError extends Error {
  override readonly name = 'DhcpCodecError';
}

export interface DhcpMessage {
  readonly op: 'request' | 'reply';
  /** IANA hardware type; 1 is Ethernet. */
  readonly hardwareType: number;
  /** The used bytes of chaddr, at most 16. */
  readonly hardwareAddress: Uint8Array;
  readonly hops: number;
  readonly xid: number;
  /** Seconds since the client began to ask. */
  readonly secs: number;
  /** The client cannot hear unicast before it has an address. */
  readonly broadcast: boolean;
  readonly ciaddr: string;
  readonly yiaddr: string;
  readonly siaddr: string;
  readonly giaddr: string;
  /** Latin-1, up to the first NUL; empty when the field carries options. */
  readonly sname: string;
  readonly file: string;
  /** Raw values by option code, in wire order; the pieces of a long option are joined (RFC 3396). Never 0, 52 or 255. */
  readonly options: ReadonlyMap<number, Uint8Array>;
}

export interface EncodeOptions {
  /** Largest UDP payload. Default 548: the 576 bytes every host accepts (RFC 2131 section 2) - 20 IPv4 - 8 UDP. */
  readonly maxBytes?: number;
}

export const NO_ADDRESS = '0.0.0.0';

const MAGIC = 0x63825363;
const SNAME_OFFSET = 44;
const FILE_OFFSET = 108;
const MAGIC_OFFSET = 236;
const OPTIONS_OFFSET = 240;
const CHADDR_BYTES = 16;
const DEFAULT_MAX_BYTES = 548; // 576 - 20 IPv4 - 8 UDP
const LEAST_BYTES = 300; // BOOTP's fixed size (RFC 951); old boot ROMs and relays drop shorter datagrams
const BROADCAST_FLAG = 0x8000;
const PAD = 0;
const OVERLOAD = 52;
const RELAY_AGENT = 82;
const END = 255;
const LONGEST_PIECE = 255;
/** Options the server acts on have one shape; a wrong length makes the message malformed. */
const EXACT_LENGTH: Readonly<Record<number, number>> = { 1: 4, 50: 4, 51: 4, 53: 1, 54: 4, 57: 2, 58: 4, 59: 4 };
/** Lists: a positive multiple of so many bytes. */
const UNIT_LENGTH: Readonly<Record<number, number>> = { 3: 4, 6: 4, 93: 2 };

export function decodeDhcp(datagram: Uint8Array): DhcpMessage {
  if (datagram.length < OPTIONS_OFFSET)
    throw new DhcpCodecError(`${datagram.length} bytes are shorter than the ${OPTIONS_OFFSET}-byte header`);
  const data = new Uint8Array(datagram); // one copy: everything below is cut from it, and the sender may use his again
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const op = view.getUint8(0);
  if (op !== 1 && op !== 2) throw new DhcpCodecError(`op ${op} is neither BOOTREQUEST nor BOOTREPLY`);
  const hlen = view.getUint8(2);
  if (hlen > CHADDR_BYTES) throw new DhcpCodecError(`hlen ${hlen} is longer than chaddr`);
  if (view.getUint32(MAGIC_OFFSET) !== MAGIC) throw new DhcpCodecError('the magic cookie is missing (plain BOOTP)');

  const options = new Map<number, Uint8Array>();
  collectOptions(data.subarray(OPTIONS_OFFSET), options, 'options');
  const overload = readOverload(options.get(OVERLOAD));
  options.delete(OVERLOAD);
  const sname = data.subarray(SNAME_OFFSET, FILE_OFFSET);
  const file = data.subarray(FILE_OFFSET, MAGIC_OFFSET);
  // RFC 3396 section 5: file before sname
  if (overload & 1) collectOptions(file, options, 'file');
  if (overload & 2) collectOptions(sname, options, 'sname');
  options.delete(OVERLOAD); // meaningless inside an overloaded field
  for (const [code, value] of options) checkLength(code, value.length);
  return {
    op: op === 1 ? 'request' : 'reply',
    hardwareType: view.getUint8(1),
    hardwareAddress: data.subarray(28, 28 + hlen),
    hops: view.getUint8(3),
    xid: view.getUint32(4),
    secs: view.getUint16(8),
    broadcast: (view.getUint16(10) & BROADCAST_FLAG) !== 0,
    ciaddr: formatIpv4(view.getUint32(12)),
    yiaddr: formatIpv4(view.getUint32(16)),
    siaddr: formatIpv4(view.getUint32(20)),
    giaddr: formatIpv4(view.getUint32(24)),
    sname: overload & 2 ? '' : textOf(sname),
    file: overload & 1 ? '' : textOf(file),
    options,
  };
}

/** Options keep their order; what does not fit behind the header goes into unused `file` and `sname` (option 52). */
export function encodeDhcp(message: DhcpMessage, { maxBytes = DEFAULT_MAX_BYTES }: EncodeOptions = {}): Uint8Array {
  if (message.hardwareAddress.length > CHADDR_BYTES) throw new DhcpCodecError('the hardware address is longer than chaddr');
  const room = Math.max(maxBytes, LEAST_BYTES) - OPTIONS_OFFSET;
  const plainBytes = optionBytes(message.options);
  const areas = plainBytes <= room ? undefined : layOut(message, plainBytes, room);

  const data = new Uint8Array(Math.max(LEAST_BYTES, OPTIONS_OFFSET + (areas?.options.length ?? plainBytes)));
  const view = new DataView(data.buffer);
  view.setUint8(0, message.op === 'request' ? 1 : 2);
  view.setUint8(1, message.hardwareType);
  view.setUint8(2, message.hardwareAddress.length);
  view.setUint8(3, message.hops);
  view.setUint32(4, message.xid);
  view.setUint16(8, message.secs);
  view.setUint16(10, message.broadcast ? BROADCAST_FLAG : 0);
  view.setUint32(12, addressNumber(message.ciaddr));
  view.setUint32(16, addressNumber(message.yiaddr));
  view.setUint32(20, addressNumber(message.siaddr));
  view.setUint32(24, addressNumber(message.giaddr));
  data.set(message.hardwareAddress, 28);
  if (message.sname !== '') data.set(textBytes(message.sname, FILE_OFFSET - SNAME_OFFSET, 'sname'), SNAME_OFFSET);
  if (message.file !== '') data.set(textBytes(message.file, MAGIC_OFFSET - FILE_OFFSET, 'file'), FILE_OFFSET);
  view.setUint32(MAGIC_OFFSET, MAGIC);
  if (areas) {
    data.set(areas.sname, SNAME_OFFSET);
    data.set(areas.file, FILE_OFFSET);
    data.set(areas.options, OPTIONS_OFFSET);
  } else {
    let at = OPTIONS_OFFSET;
    for (const [code, value] of message.options) at = writeOption(data, at, code, value);
    data[at] = END;
  }
  return data;
}

/**
 * Encapsulated options: code, length, value (43 RFC 2132 section 8.4, 82 RFC 3046, 175 of iPXE). With `padding`, 0 is a filler and 255
 * ends the list, as in option 43; option 82 knows neither.
 */
export function decodeSubOptions(data: Uint8Array, { padding }: { padding: boolean }): ReadonlyMap<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (let at = 0; at < data.length; ) {
    const code = data[at] ?? 0;
    if (padding && code === PAD) {
      at += 1;
      continue;
    }
    if (padding && code === END) break;
    const length = data[at + 1];
    if (length === undefined || at + 2 + length > data.length) throw new DhcpCodecError(`sub-option ${code} runs over the end`);
    found.set(code, data.slice(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return found;
}

export function encodeSubOptions(options: ReadonlyMap<number, Uint8Array>, { end }: { end: boolean }): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (const [code, value] of options) {
    if (value.length > 255) throw new DhcpCodecError(`sub-option ${code} is longer than 255 bytes`);
    pieces.push(Uint8Array.of(code, value.length), value);
  }
  if (end) pieces.push(Uint8Array.of(END));
  return join(pieces);
}

function collectOptions(area: Uint8Array, into: Map<number, Uint8Array>, field: string): void {
  let at = 0;
  while (at < area.length) {
    const code = area[at] ?? END;
    if (code === END) return;
    at += 1;
    if (code === PAD) continue;
    const length = area[at];
    if (length === undefined || at + 1 + length > area.length)
      throw new DhcpCodecError(`option ${code} runs over the end of the ${field} field`);
    const piece = area.subarray(at + 1, at + 1 + length);
    const before = into.get(code);
    into.set(code, before ? join([before, piece]) : piece);
    at += 1 + length;
  }
  // no END: tolerated, since every option was whole and some boot ROMs fill the datagram to the last byte
}

function readOverload(value: Uint8Array | undefined): number {
  if (!value) return 0;
  const overload = value.length === 1 ? value[0] : undefined;
  if (overload !== 1 && overload !== 2 && overload !== 3) throw new DhcpCodecError('option 52 is not 1, 2 or 3');
  return overload;
}

function checkLength(code: number, length: number): void {
  const exact = EXACT_LENGTH[code];
  const unit = UNIT_LENGTH[code];
  if ((exact !== undefined && length !== exact) || (unit !== undefined && (length === 0 || length % unit !== 0)))
    throw new DhcpCodecError(`option ${code} has ${length} bytes`);
}

/** Of all of them and END. A piece of 255 bytes has a code and a length of its own (RFC 3396 section 6), and an empty value is one piece. */
function optionBytes(options: ReadonlyMap<number, Uint8Array>): number {
  let bytes = 1;
  for (const [code, { length }] of options) {
    if (!Number.isInteger(code) || code <= PAD || code >= END || code === OVERLOAD)
      throw new DhcpCodecError(`option ${code} cannot be written`);
    bytes += length + 2 * Math.max(1, Math.ceil(length / LONGEST_PIECE));
  }
  return bytes;
}

/** Where the next one goes. */
function writeOption(data: Uint8Array, offset: number, code: number, value: Uint8Array): number {
  let at = offset;
  let from = 0;
  do {
    const length = Math.min(LONGEST_PIECE, value.length - from);
    data[at++] = code;
    data[at++] = length;
    for (const end = from + length; from < end; ) data[at++] = value[from++] ?? 0; // most have a few bytes: cheaper than to set a part
  } while (from < value.length);
  return at;
}

/** One piece per 255 bytes, each with its code and length. */
function splitOptions(options: Iterable<readonly [number, Uint8Array]>): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (const [code, value] of options) {
    let at = 0;
    do {
      const part = value.subarray(at, at + LONGEST_PIECE);
      pieces.push(join([Uint8Array.of(code, part.length), part]));
      at += LONGEST_PIECE;
    } while (at < value.length);
  }
  return pieces;
}

interface Areas {
  readonly options: Uint8Array;
  readonly file: Uint8Array;
  readonly sname: Uint8Array;
}

/**
 * For options that do not fit behind the header: fills the areas in reading order and never goes back to an earlier one, so that split options join in
 * order. Option 82 stays behind the header, where relays look for it (RFC 3046 section 2.2).
 */
function layOut(message: DhcpMessage, plainBytes: number, room: number): Areas {
  const none = new Uint8Array();
  const overloadBytes = 3; // 52, 1, value
  const rest = splitOptions([...message.options].filter(([code]) => code !== RELAY_AGENT));
  const relayAgent = join(splitOptions([...message.options].filter(([code]) => code === RELAY_AGENT)));
  const take = (bytes: number): Uint8Array[] => {
    const taken: Uint8Array[] = [];
    let left = bytes - 1; // END
    for (let next = rest[0]; next && next.length <= left; next = rest[0]) {
      taken.push(next);
      left -= next.length;
      rest.shift();
    }
    return taken;
  };
  const main = take(room - overloadBytes - relayAgent.length);
  const file = take(message.file === '' ? MAGIC_OFFSET - FILE_OFFSET : 0);
  const sname = take(message.sname === '' ? FILE_OFFSET - SNAME_OFFSET : 0);
  if (rest.length > 0 || relayAgent.length + overloadBytes >= room)
    throw new DhcpCodecError(`${plainBytes} bytes of options do not fit the message`);
  const closed = (taken: Uint8Array[]): Uint8Array => (taken.length > 0 ? join([...taken, Uint8Array.of(END)]) : none);
  const overload = (file.length > 0 ? 1 : 0) + (sname.length > 0 ? 2 : 0);
  return {
    options: join([...main, Uint8Array.of(OVERLOAD, 1, overload), relayAgent, Uint8Array.of(END)]),
    file: closed(file),
    sname: closed(sname),
  };
}

function addressNumber(text: string): number {
  const value = parseIpv4(text);
  if (value === undefined) throw new DhcpCodecError(`"${text}" is not an IPv4 address`);
  return value;
}

function textOf(field: Uint8Array): string {
  const end = field.indexOf(0);
  if (end === 0) return '';
  return Buffer.from(end < 0 ? field : field.subarray(0, end)).toString('latin1');
}

function textBytes(text: string, fieldBytes: number, field: string): Uint8Array {
  // one byte stays 0: readers expect a terminated string
  const fits = text.length < fieldBytes && Array.from(text).every((character) => character > '\0' && character <= '\xff');
  if (!fits) throw new DhcpCodecError(`"${text}" does not fit the ${field} field`);
  return Buffer.from(text, 'latin1');
}

function join(pieces: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}
