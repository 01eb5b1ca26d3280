/**
 * The two cipher suites that are worth speaking (IPMI v2.0 rev 1.1 section 22.15.2; 17 from the 2013 addenda). All others leave out
 * authentication, integrity or encryption, or stand on MD5. Suite 0 lets anybody in without a password.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

export interface CipherSuite {
  readonly id: 3 | 17;
  /** Table 13-17, Authentication Algorithm Numbers. */
  readonly authentication: number;
  /** Table 13-18, Integrity Algorithm Numbers. */
  readonly integrity: number;
  /** Table 13-19, Confidentiality Algorithm Numbers. */
  readonly confidentiality: number;
  readonly hash: 'sha1' | 'sha256';
  /** Key exchange authentication code of RAKP 2 and 3. */
  readonly authCodeBytes: number;
  /** Integrity check value of RAKP 4 and of every packet: the leading bytes of the HMAC. */
  readonly checkBytes: number;
}

export const CIPHER_SUITES: readonly CipherSuite[] = [
  // RAKP-HMAC-SHA256, HMAC-SHA256-128, AES-CBC-128
  { id: 17, authentication: 3, integrity: 4, confidentiality: 1, hash: 'sha256', authCodeBytes: 32, checkBytes: 16 },
  // RAKP-HMAC-SHA1, HMAC-SHA1-96, AES-CBC-128
  { id: 3, authentication: 1, integrity: 1, confidentiality: 1, hash: 'sha1', authCodeBytes: 20, checkBytes: 12 },
];

export function cipherSuite(id: number): CipherSuite | undefined {
  return CIPHER_SUITES.find((suite) => suite.id === id);
}

export function cipherSuiteOf(authentication: number, integrity: number, confidentiality: number): CipherSuite | undefined {
  return CIPHER_SUITES.find(
    (suite) => suite.authentication === authentication && suite.integrity === integrity && suite.confidentiality === confidentiality,
  );
}

export function hmac(suite: CipherSuite, key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer {
  const code = createHmac(suite.hash, key);
  for (const part of parts) code.update(part);
  return code.digest();
}

/** Compares in time that does not depend on where the codes differ. Lengths are public. */
export function sameCode(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
