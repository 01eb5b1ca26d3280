/** SHA-256 of a chunk, in lower-case hex, on the event loop or beside it. */
import { hash } from 'node:crypto';

export interface Hashed {
  readonly digest: string;
  /** The bytes that were handed in, with the whole buffer that they lay in, which may have been on another thread meanwhile. */
  readonly data: Uint8Array<ArrayBuffer>;
}

/** From the call on, the buffer under `data` is not the caller's: it comes back with the digest, and does not when the promise rejects. */
export type Sha256 = (data: Uint8Array<ArrayBuffer>) => Hashed | Promise<Hashed>;

export const sha256OnTheSpot: Sha256 = (data) => ({ digest: hash('sha256', data, 'hex'), data });
