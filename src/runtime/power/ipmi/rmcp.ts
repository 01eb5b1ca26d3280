/**
 * RMCP, the outermost layer of every datagram on port 623, and the ASF presence ping that rides in it (DSP0136; IPMI v2.0
 * rev 1.1 section 13.1 and 13.2).
 */
import { asBuffer, ByteReader, MalformedPacket } from './bytes.ts';

export const RMCP_PORT = 623;
export const RMCP_HEADER_BYTES = 4;

export type RmcpClass = 'asf' | 'ipmi';

const RMCP_VERSION = 0x06; // ASF 2.0
const NO_ACK = 0xff; // IPMI over RMCP is never acknowledged at this layer (section 13.1.2)
const CLASS_ASF = 0x06;
const CLASS_IPMI = 0x07;
const CLASS_MASK = 0x1f;
const ACK_BIT = 0x80;

/*
 *  Table 13-3, RMCP header
 *  +---------+----------+----------+---------------+----------
 *  | 06h     | 00h      | sequence | bit 7: ACK    | message …
 *  | version | reserved | FFh: none| 4:0 class 6/7 |
 *  +---------+----------+----------+---------------+----------
 */
export function encodeRmcp(rmcpClass: RmcpClass, message: Uint8Array): Buffer {
  const packet = Buffer.allocUnsafe(RMCP_HEADER_BYTES + message.length);
  writeRmcpHeader(packet, rmcpClass);
  packet.set(message, RMCP_HEADER_BYTES);
  return packet;
}

export function writeRmcpHeader(packet: Buffer, rmcpClass: RmcpClass): void {
  packet[0] = RMCP_VERSION;
  packet[1] = 0;
  packet[2] = NO_ACK;
  packet[3] = rmcpClass === 'asf' ? CLASS_ASF : CLASS_IPMI;
}

export function decodeRmcp(packet: Uint8Array): { readonly class: RmcpClass; readonly message: Buffer } {
  const reader = new ByteReader(packet, 'the RMCP header');
  const version = reader.u8();
  if (version !== RMCP_VERSION) throw new MalformedPacket(`RMCP version ${version}, 6 expected`);
  reader.skip(2);
  const kind = reader.u8();
  if (kind & ACK_BIT) throw new MalformedPacket('an RMCP acknowledgement carries no message');
  switch (kind & CLASS_MASK) {
    case CLASS_ASF:
      return { class: 'asf', message: reader.rest() };
    case CLASS_IPMI:
      return { class: 'ipmi', message: reader.rest() };
    default:
      throw new MalformedPacket(`RMCP class ${kind & CLASS_MASK} is neither ASF nor IPMI`);
  }
}

export type AsfMessage =
  | { readonly type: 'ping'; readonly tag: number }
  | { readonly type: 'pong'; readonly tag: number; readonly ipmiSupported: boolean };

const ASF_IANA = 4542;
const ASF_PING = 0x80;
const ASF_PONG = 0x40;
const ENTITY_IPMI = 0x80; // supported entities, bit 7
const ENTITY_ASF_1 = 0x01;
const PONG_DATA_BYTES = 16;

/*
 *  Table 13-5, RMCP ping            Table 13-6, RMCP pong: the same header, and 16 bytes of data
 *  +-------------+------+-----+-----+--------+   +-------------+--------+----------+--------------+----------+
 *  | IANA 4542   | type | tag | 00h | length |   | IANA 4542   | OEM    | entities | interactions | reserved |
 *  | 4, MSB first| 80h  | 1   |     | 00h    |   | 4           | 4      | bit 7:   | 1            | 6        |
 *  |             |      |     |     |        |   |             |        | IPMI     |              |          |
 *  +-------------+------+-----+-----+--------+   +-------------+--------+----------+--------------+----------+
 */
export function encodeAsf(message: AsfMessage): Buffer {
  const data = Buffer.alloc(message.type === 'pong' ? PONG_DATA_BYTES : 0);
  if (message.type === 'pong') {
    data.writeUInt32BE(ASF_IANA, 0);
    data[8] = (message.ipmiSupported ? ENTITY_IPMI : 0) | ENTITY_ASF_1;
  }
  const head = Buffer.from([0, 0, 0, 0, message.type === 'ping' ? ASF_PING : ASF_PONG, message.tag, 0, data.length]);
  head.writeUInt32BE(ASF_IANA, 0);
  return encodeRmcp('asf', Buffer.concat([head, data]));
}

/** `message` is what follows the RMCP header. */
export function decodeAsf(message: Uint8Array): AsfMessage {
  const reader = new ByteReader(asBuffer(message), 'the ASF message');
  const iana = reader.u32be();
  if (iana !== ASF_IANA) throw new MalformedPacket(`ASF message of enterprise ${iana}, ${ASF_IANA} expected`);
  const type = reader.u8();
  const tag = reader.u8();
  reader.skip(1);
  const length = reader.u8();
  if (type === ASF_PING) return { type: 'ping', tag };
  if (type !== ASF_PONG) throw new MalformedPacket(`ASF message type ${type} is neither ping nor pong`);
  if (length < 9) throw new MalformedPacket(`an ASF pong of ${length} data bytes says nothing of IPMI`);
  const data = reader.bytes(length);
  return { type: 'pong', tag, ipmiSupported: (data.readUInt8(8) & ENTITY_IPMI) !== 0 };
}
