/**
 * The bytes of TFTP (RFC 1350, options RFC 2347), for the server and the client beside it. Pure: no socket, no clock.
 * Whatever arrives, `decode` returns a packet or throws `TftpCodecError`, nothing else.
 */
export type TftpMode = 'octet' | 'netascii';

/** Option names in lower case (RFC 2347: names are case-insensitive) with their values as sent. */
export type TftpOptions = ReadonlyMap<string, string>;

export interface TftpRequestPacket {
  readonly type: 'rrq' | 'wrq';
  readonly path: string;
  readonly mode: TftpMode;
  readonly options: TftpOptions;
}
export interface TftpDataPacket {
  readonly type: 'data';
  /** 0..65535: block numbers wrap in long files. */
  readonly block: number;
  /** A view into the datagram, not a copy. */
  readonly data: Uint8Array;
}
export interface TftpAckPacket {
  readonly type: 'ack';
  readonly block: number;
}
export interface TftpErrorPacket {
  readonly type: 'error';
  readonly code: number;
  readonly message: string;
}
export interface TftpOackPacket {
  readonly type: 'oack';
  readonly options: TftpOptions;
}
export type TftpPacket = TftpRequestPacket | TftpDataPacket | TftpAckPacket | TftpErrorPacket | TftpOackPacket;

/** What the codec throws on bytes that are not TFTP, and on values that TFTP cannot carry. */
export class TftpCodecError extends Error {
  override readonly name = 'TftpCodecError';
}

/** RFC 1350 section 5 and the appendix of error codes; 8 is RFC 2347's. */
export const TFTP_ERROR = {
  undefined: 0,
  notFound: 1,
  accessViolation: 2,
  diskFull: 3,
  illegalOperation: 4,
  unknownTransfer: 5,
  fileExists: 6,
  noSuchUser: 7,
  optionsRefused: 8,
} as const;

export const OPCODE = { rrq: 1, wrq: 2, data: 3, ack: 4, error: 5, oack: 6 } as const;

/** Opcode and block number in front of the data. */
export const DATA_HEADER_BYTES = 4;
/** Block size without the blksize option (RFC 1350). */
export const DEFAULT_BLOCK_BYTES = 512;
/** RFC 2348: 65,535 - 20 IPv4 - 8 UDP - 4 TFTP would be 65,503; the RFC says 65,464. */
export const MAX_BLOCK_BYTES = 65464;
export const MIN_BLOCK_BYTES = 8;

/** RFC 2347 bounds a request at 512 bytes; a long path with every option may pass it, a flood of text may not. */
const MAX_REQUEST_BYTES = 1024;
const MAX_PATH_BYTES = 512;
const MAX_OPTIONS = 16;
const MAX_MESSAGE_BYTES = 512;

const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder('latin1');

/** The packet in `bytes`. @throws TftpCodecError */
export function decode(bytes: Uint8Array): TftpPacket {
  if (bytes.length < 2) throw new TftpCodecError(`${bytes.length} bytes are too few for an opcode`);
  const opcode = word(bytes, 0);
  switch (opcode) {
    case OPCODE.rrq:
      return unpackRequest('rrq', bytes);
    case OPCODE.wrq:
      return unpackRequest('wrq', bytes);
    case OPCODE.data:
      return unpackData(bytes);
    case OPCODE.ack:
      return unpackAck(bytes);
    case OPCODE.error:
      return unpackError(bytes);
    case OPCODE.oack:
      return unpackOack(bytes);
    default:
      throw new TftpCodecError(`opcode ${opcode} is not one of 1..6`);
  }
}

/** The bytes of `packet`. @throws TftpCodecError when a field cannot be carried. */
export function encode(packet: TftpPacket): Buffer {
  switch (packet.type) {
    case 'rrq':
    case 'wrq':
      return packRequest(packet);
    case 'data':
      return packData(packet.block, packet.data);
    case 'ack':
      return packAck(packet.block);
    case 'error':
      return packError(packet.code, packet.message);
    case 'oack':
      return packOack(packet.options);
  }
}

//   2 bytes   string  1   string  1   string  1   string  1
//  +---------+------+---+-------+---+-------+---+-------+---+--
//  | 1 | 2   | path | 0 | mode  | 0 | name  | 0 | value | 0 | …   RRQ, WRQ
//  +---------+------+---+-------+---+-------+---+-------+---+--

export function packRequest({ type, path, mode, options }: TftpRequestPacket): Buffer {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw new TftpCodecError(`a path of more than ${MAX_PATH_BYTES} bytes`);
  if (path === '') throw new TftpCodecError('an empty path');
  const packet = Buffer.concat([opcodeBytes(OPCODE[type]), packString(path), packString(mode), packOptions(options)]);
  if (packet.length > MAX_REQUEST_BYTES) throw new TftpCodecError(`a request of more than ${MAX_REQUEST_BYTES} bytes`);
  return packet;
}

function unpackRequest(type: 'rrq' | 'wrq', bytes: Uint8Array): TftpRequestPacket {
  if (bytes.length > MAX_REQUEST_BYTES) throw new TftpCodecError(`a request of ${bytes.length} bytes`);
  const path = unpackString(bytes, 2, 'path');
  if (path.value === '') throw new TftpCodecError('an empty path');
  if (path.end - 3 > MAX_PATH_BYTES) throw new TftpCodecError(`a path of ${path.end - 3} bytes`);
  const mode = unpackString(bytes, path.end, 'mode');
  const name = mode.value.toLowerCase();
  if (name !== 'octet' && name !== 'netascii') throw new TftpCodecError(`mode "${printable(mode.value)}" is neither octet nor netascii`);
  return { type, path: path.value, mode: name, options: unpackOptions(bytes, mode.end) };
}

//   2 bytes   2 bytes  0..blksize bytes
//  +---------+--------+----------------+
//  |    3    | block  |      data      |   DATA; shorter than blksize: the last one
//  +---------+--------+----------------+

export function packData(block: number, data: Uint8Array): Buffer {
  if (data.length > MAX_BLOCK_BYTES) throw new TftpCodecError(`a block of ${data.length} bytes`);
  const packet = Buffer.allocUnsafe(DATA_HEADER_BYTES + data.length);
  writeDataHeader(packet, 0, block);
  packet.set(data, DATA_HEADER_BYTES);
  return packet;
}

/** Writes opcode and block number at `offset`; `block` is taken modulo 65,536. For frames that are built in place. */
export function writeDataHeader(into: Buffer, offset: number, block: number): void {
  into[offset] = 0;
  into[offset + 1] = OPCODE.data;
  into[offset + 2] = (block >>> 8) & 0xff;
  into[offset + 3] = block & 0xff;
}

function unpackData(bytes: Uint8Array): TftpDataPacket {
  if (bytes.length < DATA_HEADER_BYTES) throw new TftpCodecError('DATA without a block number');
  if (bytes.length > DATA_HEADER_BYTES + MAX_BLOCK_BYTES) throw new TftpCodecError(`DATA of ${bytes.length} bytes`);
  return { type: 'data', block: word(bytes, 2), data: bytes.subarray(DATA_HEADER_BYTES) };
}

//   2 bytes   2 bytes
//  +---------+--------+
//  |    4    | block  |   ACK; some ROMs pad it, so that bytes behind it are passed over
//  +---------+--------+

export function packAck(block: number): Buffer {
  return Buffer.from([0, OPCODE.ack, (block >>> 8) & 0xff, block & 0xff]);
}

function unpackAck(bytes: Uint8Array): TftpAckPacket {
  if (bytes.length < 4) throw new TftpCodecError('ACK without a block number');
  return { type: 'ack', block: word(bytes, 2) };
}

/** The block number of an ACK, -1 for anything else: the hot path's reading, without an object. */
export function ackBlock(bytes: Uint8Array): number {
  return bytes.length >= 4 && bytes[0] === 0 && bytes[1] === OPCODE.ack ? word(bytes, 2) : -1;
}

//   2 bytes   2 bytes  string    1
//  +---------+--------+---------+---+
//  |    5    |  code  | message | 0 |   ERROR; the final 0 is often forgotten, the message too
//  +---------+--------+---------+---+

export function packError(code: number, message: string): Buffer {
  if (!Number.isInteger(code) || code < 0 || code > 0xffff) throw new TftpCodecError(`error code ${code}`);
  const sentence = Buffer.from(message.replaceAll('\0', ' ')).subarray(0, MAX_MESSAGE_BYTES);
  return Buffer.concat([Buffer.from([0, OPCODE.error, code >>> 8, code & 0xff]), sentence, Buffer.of(0)]);
}

function unpackError(bytes: Uint8Array): TftpErrorPacket {
  if (bytes.length < 4) throw new TftpCodecError('ERROR without a code');
  const end = bytes.indexOf(0, 4);
  const raw = bytes.subarray(4, Math.min(end < 0 ? bytes.length : end, 4 + MAX_MESSAGE_BYTES));
  // Vendors' messages come in any encoding; they are only shown, so every byte becomes a character
  return { type: 'error', code: word(bytes, 2), message: printable(isUtf8(raw) ? text.decode(raw) : lenient.decode(raw)) };
}

//   2 bytes   string  1   string  1
//  +---------+-------+---+-------+---+--
//  |    6    | name  | 0 | value | 0 | …   OACK (RFC 2347)
//  +---------+-------+---+-------+---+--

export function packOack(options: TftpOptions): Buffer {
  return Buffer.concat([opcodeBytes(OPCODE.oack), packOptions(options)]);
}

function unpackOack(bytes: Uint8Array): TftpOackPacket {
  if (bytes.length > MAX_REQUEST_BYTES) throw new TftpCodecError(`OACK of ${bytes.length} bytes`);
  return { type: 'oack', options: unpackOptions(bytes, 2) };
}

function packOptions(options: TftpOptions): Buffer {
  if (options.size > MAX_OPTIONS) throw new TftpCodecError(`${options.size} options`);
  const parts: Buffer[] = [];
  for (const [name, value] of options) {
    if (name === '') throw new TftpCodecError('an option without a name');
    parts.push(packString(name), packString(value));
  }
  return Buffer.concat(parts);
}

function unpackOptions(bytes: Uint8Array, start: number): TftpOptions {
  const options = new Map<string, string>();
  let position = start;
  while (position < bytes.length) {
    if (bytes[position] === 0) break; // an empty name: the zero padding that some ROMs put behind the request
    const name = unpackString(bytes, position, 'option name');
    const value = unpackString(bytes, name.end, 'option value');
    position = value.end;
    const key = name.value.toLowerCase();
    if (options.has(key)) continue; // RFC 2347: an option is given once; the first one counts
    if (options.size === MAX_OPTIONS) throw new TftpCodecError(`more than ${MAX_OPTIONS} options`);
    options.set(key, value.value);
  }
  return options;
}

function packString(value: string): Buffer {
  if (value.includes('\0')) throw new TftpCodecError('a string with a NUL in it');
  return Buffer.from(`${value}\0`);
}

function unpackString(bytes: Uint8Array, start: number, what: string): { value: string; end: number } {
  const end = bytes.indexOf(0, start);
  if (end < 0) throw new TftpCodecError(`the ${what} does not end`);
  const raw = bytes.subarray(start, end);
  if (!isUtf8(raw)) throw new TftpCodecError(`the ${what} is not UTF-8`);
  return { value: text.decode(raw), end: end + 1 };
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    text.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

function opcodeBytes(opcode: number): Buffer {
  return Buffer.of(0, opcode);
}

function word(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0);
}

/** Without control characters, so that a peer's text cannot drive a terminal that shows it. */
function printable(value: string): string {
  return value.replaceAll(/\p{Cc}/gu, ' ');
}
