/** Session set-up: Open Session and the four RAKP messages (IPMI v2.0 rev 1.1 sections 13.17 to 13.24). Both sides of each. */
import { ByteReader, MalformedPacket } from './bytes.ts';
import { type CipherSuite, hmac } from './cipher-suite.ts';
import type { SessionKeys } from './rmcp-plus.ts';

/** Table 13-15, RMCP+ and RAKP Message Status Codes. */
export const RakpStatus = {
  ok: 0x00,
  insufficientResources: 0x01,
  invalidSessionId: 0x02,
  invalidAuthenticationAlgorithm: 0x04,
  invalidIntegrityAlgorithm: 0x05,
  inactiveSessionId: 0x08,
  invalidRole: 0x09,
  unauthorizedRole: 0x0a,
  insufficientResourcesForRole: 0x0b,
  invalidNameLength: 0x0c,
  unauthorizedName: 0x0d,
  invalidIntegrityCheck: 0x0f,
  invalidConfidentialityAlgorithm: 0x10,
  noCipherSuiteMatch: 0x11,
  illegalParameter: 0x12,
} as const;

const STATUS_NAMES: Readonly<Record<number, string>> = {
  0: 'no errors',
  1: 'insufficient resources to create a session',
  2: 'invalid session ID',
  3: 'invalid payload type',
  4: 'invalid authentication algorithm',
  5: 'invalid integrity algorithm',
  6: 'no matching authentication payload',
  7: 'no matching integrity payload',
  8: 'inactive session ID',
  9: 'invalid role',
  10: 'unauthorized role or privilege level requested',
  11: 'insufficient resources to create a session at the requested role',
  12: 'invalid name length',
  13: 'unauthorized name',
  14: 'unauthorized GUID',
  15: 'invalid integrity check value',
  16: 'invalid confidentiality algorithm',
  17: 'no cipher suite match with proposed security algorithms',
  18: 'illegal or unrecognized parameter',
};

export function rakpStatusName(status: number): string {
  return `${status.toString(16).toUpperCase().padStart(2, '0')}h (${STATUS_NAMES[status] ?? 'reserved'})`;
}

/** Table 6-1: bits 3:0 of a role. */
export const PrivilegeLevel = { callback: 1, user: 2, operator: 3, administrator: 4 } as const;

/** Bit 4 of ROLEm: look the user up by name alone, not by name and privilege (Table 13-11). */
export const NAME_ONLY_LOOKUP = 0x10;
export const RAKP_RANDOM_BYTES = 16;
export const GUID_BYTES = 16;
export const MAX_USERNAME_BYTES = 16;
export const MAX_PASSWORD_BYTES = 20;

type Algorithms = Pick<CipherSuite, 'authentication' | 'integrity' | 'confidentiality'>;

export interface OpenSessionRequest extends Algorithms {
  readonly tag: number;
  /** 0: the highest that the cipher suite allows. */
  readonly maxPrivilege: number;
  readonly consoleSessionId: number;
}

/*
 *  Table 13-9, RMCP+ Open Session Request
 *  +-----+-----------+----------+--------------+------------------------+------------------+------------------------+
 *  | tag | max       | reserved | console      | 00h 0 0 8 authentic.   | 01h 0 0 8        | 02h 0 0 8              |
 *  | 1   | privilege | 2        | session ID 4 | algorithm 0 0 0        | integrity 0 0 0  | confidentiality 0 0 0  |
 *  +-----+-----------+----------+--------------+------------------------+------------------+------------------------+
 */
export function encodeOpenSessionRequest(request: OpenSessionRequest): Buffer {
  const head = Buffer.from([request.tag, request.maxPrivilege, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32LE(request.consoleSessionId, 4);
  return Buffer.concat([head, encodeAlgorithms(request)]);
}

export function decodeOpenSessionRequest(payload: Uint8Array): OpenSessionRequest {
  const reader = new ByteReader(payload, 'Open Session Request');
  const tag = reader.u8();
  const maxPrivilege = reader.u8() & 0x0f;
  reader.skip(2);
  return { tag, maxPrivilege, consoleSessionId: reader.u32(), ...decodeAlgorithms(reader) };
}

export type OpenSessionResponse =
  | ({
      readonly tag: number;
      readonly status: 0;
      readonly maxPrivilege: number;
      readonly consoleSessionId: number;
      readonly bmcSessionId: number;
    } & Algorithms)
  | RakpFailure;

/** What an answer with an error status is cut down to. */
export interface RakpFailure {
  readonly tag: number;
  readonly status: number;
  readonly consoleSessionId: number;
  readonly bmcSessionId?: undefined;
}

/*
 *  Table 13-10, RMCP+ Open Session Response: with an error status it ends after the console's session ID
 *  +-----+--------+-----------+-----+--------------+--------------+----------------------------------------------------+
 *  | tag | status | max       | 00h | console      | BMC          | the three chosen algorithms, as in the request, 24 |
 *  | 1   | 1      | privilege |     | session ID 4 | session ID 4 |                                                    |
 *  +-----+--------+-----------+-----+--------------+--------------+----------------------------------------------------+
 */
export function encodeOpenSessionResponse(response: OpenSessionResponse): Buffer {
  if (response.bmcSessionId === undefined) return encodeFailure(response);
  const head = Buffer.from([response.tag, 0, response.maxPrivilege, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32LE(response.consoleSessionId, 4);
  head.writeUInt32LE(response.bmcSessionId, 8);
  return Buffer.concat([head, encodeAlgorithms(response)]);
}

export function decodeOpenSessionResponse(payload: Uint8Array): OpenSessionResponse {
  const reader = new ByteReader(payload, 'Open Session Response');
  const { tag, status, consoleSessionId } = decodeFailure(reader);
  if (status !== 0) return { tag, status, consoleSessionId };
  const maxPrivilege = (payload[2] ?? 0) & 0x0f;
  const bmcSessionId = reader.u32();
  return { tag, status, maxPrivilege, consoleSessionId, bmcSessionId, ...decodeAlgorithms(reader) };
}

export interface Rakp1 {
  readonly tag: number;
  readonly bmcSessionId: number;
  readonly consoleRandom: Uint8Array;
  /** ROLEm, the whole byte: it is hashed as sent. */
  readonly role: number;
  readonly username: Uint8Array;
}

/*
 *  Table 13-11, RAKP Message 1
 *  +-----+----------+--------------+----------------+------+----------+-------------+----------+
 *  | tag | reserved | BMC          | console random | role | reserved | name length | name     |
 *  | 1   | 3        | session ID 4 | 16             | 1    | 2        | 1           | 0 to 16  |
 *  +-----+----------+--------------+----------------+------+----------+-------------+----------+
 */
export function encodeRakp1(message: Rakp1): Buffer {
  const head = Buffer.alloc(28);
  head[0] = message.tag;
  head.writeUInt32LE(message.bmcSessionId, 4);
  head.set(message.consoleRandom, 8);
  head[24] = message.role;
  head[27] = message.username.length;
  return Buffer.concat([head, message.username]);
}

export function decodeRakp1(payload: Uint8Array): Rakp1 {
  const reader = new ByteReader(payload, 'RAKP 1');
  const tag = reader.u8();
  reader.skip(3);
  const bmcSessionId = reader.u32();
  const consoleRandom = reader.bytes(RAKP_RANDOM_BYTES);
  const role = reader.u8();
  reader.skip(2);
  const length = reader.u8();
  if (length > MAX_USERNAME_BYTES) throw new MalformedPacket(`a user name of ${length} bytes in RAKP 1`);
  return { tag, bmcSessionId, consoleRandom, role, username: reader.bytes(length) };
}

export type Rakp2 =
  | {
      readonly tag: number;
      readonly status: 0;
      readonly consoleSessionId: number;
      readonly bmcRandom: Uint8Array;
      readonly bmcGuid: Uint8Array;
      readonly authCode: Uint8Array;
    }
  | (RakpFailure & { readonly bmcRandom?: undefined });

/*
 *  Table 13-12, RAKP Message 2: with an error status it may end after the session ID
 *  +-----+--------+----------+--------------+------------+----------+-------------------------+
 *  | tag | status | reserved | console      | BMC random | BMC GUID | key exchange auth code  |
 *  | 1   | 1      | 2        | session ID 4 | 16         | 16       | 20 (SHA1) or 32 (SHA256)|
 *  +-----+--------+----------+--------------+------------+----------+-------------------------+
 */
export function encodeRakp2(message: Rakp2): Buffer {
  if (message.bmcRandom === undefined) return encodeFailure(message);
  return Buffer.concat([encodeFailure(message), message.bmcRandom, message.bmcGuid, message.authCode]);
}

export function decodeRakp2(payload: Uint8Array): Rakp2 {
  const reader = new ByteReader(payload, 'RAKP 2');
  const { tag, status, consoleSessionId } = decodeFailure(reader);
  if (status !== 0) return { tag, status, consoleSessionId };
  return {
    tag,
    status,
    consoleSessionId,
    bmcRandom: reader.bytes(RAKP_RANDOM_BYTES),
    bmcGuid: reader.bytes(GUID_BYTES),
    authCode: reader.rest(),
  };
}

export interface Rakp3 {
  readonly tag: number;
  /** Not 0: the console gives up, and the BMC forgets the session. */
  readonly status: number;
  readonly bmcSessionId: number;
  /** Empty with an error status. */
  readonly authCode: Uint8Array;
}

/*
 *  Table 13-13, RAKP Message 3               Table 13-14, RAKP Message 4
 *  +-----+--------+----------+--------------+-----------+   +-----+--------+----------+--------------+-----------------+
 *  | tag | status | reserved | BMC          | auth code |   | tag | status | reserved | console      | integrity check |
 *  | 1   | 1      | 2        | session ID 4 | 20 or 32  |   | 1   | 1      | 2        | session ID 4 | 12 or 16        |
 *  +-----+--------+----------+--------------+-----------+   +-----+--------+----------+--------------+-----------------+
 */
export function encodeRakp3(message: Rakp3): Buffer {
  return Buffer.concat([
    encodeFailure({ tag: message.tag, status: message.status, consoleSessionId: message.bmcSessionId }),
    message.authCode,
  ]);
}

export function decodeRakp3(payload: Uint8Array): Rakp3 {
  const reader = new ByteReader(payload, 'RAKP 3');
  const { tag, status, consoleSessionId } = decodeFailure(reader);
  return { tag, status, bmcSessionId: consoleSessionId, authCode: reader.rest() };
}

export interface Rakp4 {
  readonly tag: number;
  readonly status: number;
  readonly consoleSessionId: number;
  readonly integrityCheck: Uint8Array;
}

export function encodeRakp4(message: Rakp4): Buffer {
  return Buffer.concat([encodeFailure(message), message.integrityCheck]);
}

export function decodeRakp4(payload: Uint8Array): Rakp4 {
  const reader = new ByteReader(payload, 'RAKP 4');
  const { tag, status, consoleSessionId } = decodeFailure(reader);
  return { tag, status, consoleSessionId, integrityCheck: reader.rest() };
}

/** What both sides hash (section 13.31). The BMC is the "managed system" (SIDc, Rc), the console the "remote console" (SIDm, Rm). */
export interface RakpExchange {
  readonly suite: CipherSuite;
  readonly consoleSessionId: number;
  readonly bmcSessionId: number;
  readonly consoleRandom: Uint8Array;
  readonly bmcRandom: Uint8Array;
  readonly bmcGuid: Uint8Array;
  readonly role: number;
  readonly username: Uint8Array;
  /** K_UID: the user's password. HMAC pads keys with zeros, so the spec's padding to 20 bytes changes nothing. */
  readonly password: Uint8Array;
}

/** RAKP 2: HMAC(K_UID, SIDm SIDc Rm Rc GUIDc ROLEm ULENGTHm UNAMEm). */
export function rakp2AuthCode(x: RakpExchange): Buffer {
  return hmac(x.suite, x.password, le32(x.consoleSessionId), le32(x.bmcSessionId), x.consoleRandom, x.bmcRandom, x.bmcGuid, identity(x));
}

/** RAKP 3: HMAC(K_UID, Rc SIDm ROLEm ULENGTHm UNAMEm). */
export function rakp3AuthCode(x: RakpExchange): Buffer {
  return hmac(x.suite, x.password, x.bmcRandom, le32(x.consoleSessionId), identity(x));
}

/** SIK = HMAC(K_G, Rm Rc ROLEm ULENGTHm UNAMEm); a BMC without K_G ("one-key log-in", all that is supported) uses K_UID. */
export function sessionIntegrityKey(x: RakpExchange): Buffer {
  return hmac(x.suite, x.password, x.consoleRandom, x.bmcRandom, identity(x));
}

/** RAKP 4: the first bytes of HMAC(SIK, Rm SIDc GUIDc). */
export function rakp4IntegrityCheck(x: RakpExchange, sik: Uint8Array): Buffer {
  return hmac(x.suite, sik, x.consoleRandom, le32(x.bmcSessionId), x.bmcGuid).subarray(0, x.suite.rakp4Bytes);
}

/** Section 13.32: K1 for integrity, K2 for AES. The constants are 20 bytes for SHA256 too, as every implementation has it. */
export function sessionKeys(suite: CipherSuite, sik: Uint8Array): SessionKeys {
  return { suite, k1: hmac(suite, sik, CONST_1), aesKey: hmac(suite, sik, CONST_2).subarray(0, 16) };
}

const CONST_1 = Buffer.alloc(20, 0x01);
const CONST_2 = Buffer.alloc(20, 0x02);

function identity(x: RakpExchange): Buffer {
  return Buffer.concat([Buffer.from([x.role, x.username.length]), x.username]);
}

function le32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function encodeAlgorithms({ authentication, integrity, confidentiality }: Algorithms): Buffer {
  const one = (kind: number, algorithm: number): number[] => [kind, 0, 0, 8, algorithm, 0, 0, 0];
  return Buffer.from([...one(0, authentication), ...one(1, integrity), ...one(2, confidentiality)]);
}

function decodeAlgorithms(reader: ByteReader): Algorithms {
  const one = (kind: number): number => {
    const found = reader.u8();
    if (found !== kind) throw new MalformedPacket(`algorithm payload type ${found}, ${kind} expected`);
    reader.skip(2);
    const length = reader.u8(); // 0 means "null field": the BMC may choose
    const algorithm = reader.u8() & 0x3f;
    reader.skip(3);
    return length === 0 ? 0 : algorithm;
  };
  return { authentication: one(0), integrity: one(1), confidentiality: one(2) };
}

function encodeFailure({ tag, status, consoleSessionId }: { tag: number; status: number; consoleSessionId: number }): Buffer {
  const head = Buffer.from([tag, status, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32LE(consoleSessionId, 4);
  return head;
}

/** OpenIPMI's BMC cuts an error answer down to tag and status; session ID 0 stands for "not said". */
function decodeFailure(reader: ByteReader): { tag: number; status: number; consoleSessionId: number } {
  const tag = reader.u8();
  const status = reader.u8();
  if (status !== 0 && reader.remaining < 6) return { tag, status, consoleSessionId: 0 };
  reader.skip(2);
  return { tag, status, consoleSessionId: reader.u32() };
}
