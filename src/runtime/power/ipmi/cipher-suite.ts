/**
 * Cipher suites (IPMI v2.0 rev 1.1 section 22.15.2; 17 from the 2013 addenda). Two are worth speaking. 0, 1 and 2 leave out authentication, integrity or
 * encryption and are spoken only when a person names one: for a laboratory, or for a BMC whose firmware knows nothing better. Those on MD5 are left out.
 */
import { hash, timingSafeEqual } from 'node:crypto';

export type CipherSuiteId = 0 | 1 | 2 | 3 | 17;

export interface CipherSuite {
  readonly id: CipherSuiteId;
  /** Table 13-17, Authentication Algorithm Numbers. */
  readonly authentication: number;
  /** Table 13-18, Integrity Algorithm Numbers. 0: packets carry no code. */
  readonly integrity: number;
  /** Table 13-19, Confidentiality Algorithm Numbers. 0: payloads go in clear. */
  readonly confidentiality: number;
  /** Undefined for suite 0: nobody proves anything. */
  readonly hash: 'sha1' | 'sha256' | undefined;
  /** Key exchange authentication code of RAKP 2 and 3. */
  readonly authCodeBytes: number;
  /** Integrity check value of RAKP 4: the leading bytes of the HMAC. */
  readonly rakp4Bytes: number;
  /** Authentication code of every packet: the leading bytes of the HMAC. */
  readonly checkBytes: number;
}

/** In order of preference: what is tried when no suite is named. */
export const CIPHER_SUITES: readonly CipherSuite[] = [
  // RAKP-HMAC-SHA256, HMAC-SHA256-128, AES-CBC-128
  { id: 17, authentication: 3, integrity: 4, confidentiality: 1, hash: 'sha256', authCodeBytes: 32, rakp4Bytes: 16, checkBytes: 16 },
  // RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128
  { id: 3, authentication: 1, integrity: 1, confidentiality: 1, hash: 'sha1', authCodeBytes: 20, rakp4Bytes: 12, checkBytes: 12 },
];

/** Only by name. */
export const WEAK_CIPHER_SUITES: readonly CipherSuite[] = [
  { id: 2, authentication: 1, integrity: 1, confidentiality: 0, hash: 'sha1', authCodeBytes: 20, rakp4Bytes: 12, checkBytes: 12 },
  { id: 1, authentication: 1, integrity: 0, confidentiality: 0, hash: 'sha1', authCodeBytes: 20, rakp4Bytes: 12, checkBytes: 0 },
  { id: 0, authentication: 0, integrity: 0, confidentiality: 0, hash: undefined, authCodeBytes: 0, rakp4Bytes: 0, checkBytes: 0 },
];

const ALL = [...CIPHER_SUITES, ...WEAK_CIPHER_SUITES];

export function cipherSuite(id: number): CipherSuite | undefined {
  return ALL.find((suite) => suite.id === id);
}

export function cipherSuiteOf(authentication: number, integrity: number, confidentiality: number): CipherSuite | undefined {
  return ALL.find(
    (suite) => suite.authentication === authentication && suite.integrity === integrity && suite.confidentiality === confidentiality,
  );
}

/** A block of SHA-1 and of SHA-256. Keys here are shorter: a password has 20 bytes, a digest 32. */
const HASH_BLOCK_BYTES = 64;
const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;

/**
 * HMAC (RFC 2104) of `parts` in order; empty for suite 0. Made of two calls that keep nothing: a log-in needs six codes and each packet one, and with createHmac
 * the objects for keys and contexts cost a BMC's worth of log-ins more than the hashing itself (Node 24.21).
 */
export function hmac(suite: CipherSuite, key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer {
  if (suite.hash === undefined) return Buffer.alloc(0);
  if (key.length > HASH_BLOCK_BYTES) throw new RangeError(`an HMAC key of ${key.length} bytes`);
  const inner = hash(suite.hash, padded(key, INNER_PAD, parts), 'buffer');
  return hash(suite.hash, padded(key, OUTER_PAD, [inner]), 'buffer');
}

/** The key, filled up with zeros to a block, each byte with `pad`; then `parts`. */
function padded(key: Uint8Array, pad: number, parts: readonly Uint8Array[]): Buffer {
  let bytes = HASH_BLOCK_BYTES;
  for (const part of parts) bytes += part.length;
  const message = Buffer.allocUnsafe(bytes).fill(pad, key.length, HASH_BLOCK_BYTES);
  for (let i = 0; i < key.length; i++) message[i] = pad ^ (key[i] ?? 0);
  let at = HASH_BLOCK_BYTES;
  for (const part of parts) {
    message.set(part, at);
    at += part.length;
  }
  return message;
}

/** Compares in time that does not depend on where the codes differ. Lengths are public. */
export function sameCode(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

const RECORD_STANDARD = 0xc0;
const RECORD_OEM = 0xc1;

/**
 * The ids in the records of Get Channel Cipher Suites (Table 22-18): C0h, id, then algorithm bytes whose two highest bits say what they are; an OEM record (C1h) has
 * three bytes of IANA number behind its id and is skipped. What cannot be read ends the list.
 */
export function cipherSuiteIds(records: Uint8Array): readonly number[] {
  const ids: number[] = [];
  for (let i = 0; i < records.length; ) {
    const start = records[i];
    if (start !== RECORD_STANDARD && start !== RECORD_OEM) break;
    const id = records[i + 1];
    if (start === RECORD_STANDARD && id !== undefined) ids.push(id);
    i += start === RECORD_STANDARD ? 2 : 5;
    while (i < records.length && records[i] !== RECORD_STANDARD && records[i] !== RECORD_OEM) i += 1;
  }
  return ids;
}
