/**
 * CHAP as iSCSI uses it (RFC 1994, RFC 7143 section 12.1.3): the answer to a challenge is
 * hash(identifier byte, secret, challenge). Both sides of it, for the initiator and the simulated target.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';
import { iscsiErrors } from './errors.ts';

const SHORTEST_SECRET_BYTES = 12; // 96 bits
const LONGEST_SECRET_BYTES = 255;
export const CHALLENGE_BYTES = 32;
export const LONGEST_CHALLENGE_BYTES = 1024;

/** A secret that can be used but not seen: it prints, logs and serializes as "[secret]". */
export class ChapSecret {
  readonly #bytes: Uint8Array;

  /** Throws ISCSI_CHAP_SECRET_SHORT below 12 bytes or above 255; text is UTF-8. */
  constructor(secret: string | Uint8Array) {
    this.#bytes = typeof secret === 'string' ? Buffer.from(secret, 'utf8') : Uint8Array.from(secret);
    if (this.#bytes.length < SHORTEST_SECRET_BYTES || this.#bytes.length > LONGEST_SECRET_BYTES)
      throw iscsiErrors.ISCSI_CHAP_SECRET_SHORT({ bytes: this.#bytes.length });
  }

  /** The answer to `challenge`. */
  answer(algorithm: ChapAlgorithm, identifier: number, challenge: Uint8Array): Uint8Array {
    return createHash(HASHES[algorithm].name).update(Uint8Array.of(identifier)).update(this.#bytes).update(challenge).digest();
  }

  /** Whether `answer` proves knowledge of this secret. Takes the same time for every wrong answer of the right length. */
  proves(answer: Uint8Array, algorithm: ChapAlgorithm, identifier: number, challenge: Uint8Array): boolean {
    const expected = this.answer(algorithm, identifier, challenge);
    return answer.length === expected.length && timingSafeEqual(answer, expected);
  }

  equals(other: ChapSecret): boolean {
    return this.#bytes.length === other.#bytes.length && timingSafeEqual(this.#bytes, other.#bytes);
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}

export type ChapAlgorithm = 'md5' | 'sha-1' | 'sha-256' | 'sha3-256';

/** Numbers of CHAP_A (IANA, "PPP Authentication Algorithms"). */
const HASHES: Readonly<Record<ChapAlgorithm, { number: string; name: string }>> = {
  md5: { number: '5', name: 'md5' },
  'sha-1': { number: '6', name: 'sha1' },
  'sha-256': { number: '7', name: 'sha256' },
  'sha3-256': { number: '8', name: 'sha3-256' },
};

export function algorithmNumber(algorithm: ChapAlgorithm): string {
  return HASHES[algorithm].number;
}

/** The first algorithm of the list `numbers` ("7,5") that `allowed` has. */
export function chooseAlgorithm(numbers: string, allowed: readonly ChapAlgorithm[]): ChapAlgorithm | undefined {
  for (const number of numbers.split(',')) {
    const found = allowed.find((algorithm) => HASHES[algorithm].number === number);
    if (found) return found;
  }
  return undefined;
}

/** Who we say we are, and what the target has to prove. */
export interface ChapCredentials {
  readonly user: string;
  readonly secret: ChapSecret;
  /** Mutual CHAP: the target must prove this secret (and name, when given) before anything is written to it. */
  readonly target?: { readonly user?: string; readonly secret: ChapSecret };
  /**
   * In order of preference; default MD5 alone, the one that every target has. Not more by default, since tgt takes 7 for SHA-1
   * where IANA says SHA-256, and picks the first of our list that it thinks it knows.
   */
  readonly algorithms?: readonly ChapAlgorithm[];
}
