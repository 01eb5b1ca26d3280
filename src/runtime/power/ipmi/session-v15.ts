/**
 * The IPMI 1.5 session wrapper. Only its sessionless form is used: Get Channel Authentication Capabilities and Get Channel
 * Cipher Suites travel in it before a session exists (IPMI v2.0 rev 1.1 section 13.6, Table 13-8).
 */
import { ByteReader, MalformedPacket } from './bytes.ts';
import { encodeRmcp } from './rmcp.ts';

export interface V15Packet {
  readonly kind: 'v15';
  /** Table 13-8: 0 none, 1 MD2, 2 MD5, 4 password, 5 OEM. */
  readonly authType: number;
  readonly sequence: number;
  readonly sessionId: number;
  readonly payload: Buffer;
}

const AUTH_CODE_BYTES = 16;

/*
 *  After the RMCP header
 *  +-----------+------------------+------------+-------------------+--------+---------+
 *  | auth type | session sequence | session ID | auth code         | length | payload |
 *  | 1, 0 none | 4, LSB first     | 4          | 16; absent if none| 1      | n       |
 *  +-----------+------------------+------------+-------------------+--------+---------+
 */
export function encodeSessionless(payload: Uint8Array): Buffer {
  const message = Buffer.alloc(10 + payload.length);
  message[9] = payload.length;
  message.set(payload, 10);
  return encodeRmcp('ipmi', message);
}

export function decodeV15(message: Uint8Array): V15Packet {
  const reader = new ByteReader(message, 'the IPMI 1.5 packet');
  const authType = reader.u8() & 0x0f;
  if (authType === 0x06) throw new MalformedPacket('an RMCP+ packet where an IPMI 1.5 packet was expected');
  const sequence = reader.u32();
  const sessionId = reader.u32();
  if (authType !== 0) reader.skip(AUTH_CODE_BYTES);
  // a legacy pad byte may follow the payload (section 13.6): what is beyond `length` is not ours
  return { kind: 'v15', authType, sequence, sessionId, payload: reader.bytes(reader.u8()) };
}
