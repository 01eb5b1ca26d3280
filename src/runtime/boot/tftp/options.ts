/**
 * Option negotiation (RFC 2347) for blksize (2348), timeout and tsize (2349), windowsize (7440): what a server makes of a
 * request, and what a client may accept in the answer. Pure.
 */
import { DATA_HEADER_BYTES, DEFAULT_BLOCK_BYTES, MAX_BLOCK_BYTES, MIN_BLOCK_BYTES, type TftpMode, type TftpOptions } from './codec.ts';

export interface TransferTerms {
  readonly blockBytes: number;
  readonly windowBlocks: number;
  /** Retransmission interval that the client asked for; undefined: the sender adapts. */
  readonly timeoutMs: number | undefined;
}

export interface NegotiationLimits {
  readonly blockBytesMax: number;
  readonly windowBlocksMax: number;
  /** Most bytes in flight: a window beyond the client's receive buffer (212,992 on Linux) loses its own tail. */
  readonly windowBytesMax: number;
}

export interface Negotiation {
  readonly terms: TransferTerms;
  /** What to acknowledge; empty: the request had no option that we know, and DATA 1 is the answer. */
  readonly oack: TftpOptions;
}

const DEFAULT_TERMS: TransferTerms = { blockBytes: DEFAULT_BLOCK_BYTES, windowBlocks: 1, timeoutMs: undefined };

/**
 * The server's side. Unknown options and values out of range are passed over as RFC 2347 asks, never refused; a larger
 * block or window than allowed is answered with the allowed one. `size` is what tsize answers.
 */
export function negotiate(requested: TftpOptions, mode: TftpMode, size: number | undefined, limits: NegotiationLimits): Negotiation {
  const oack = new Map<string, string>();
  let { blockBytes, windowBlocks, timeoutMs } = DEFAULT_TERMS;
  const blksize = integer(requested.get('blksize'), MIN_BLOCK_BYTES, 0xffff);
  if (blksize !== undefined) {
    blockBytes = Math.max(MIN_BLOCK_BYTES, Math.min(blksize, limits.blockBytesMax, MAX_BLOCK_BYTES));
    oack.set('blksize', String(blockBytes));
  }
  const timeout = integer(requested.get('timeout'), 1, 255);
  if (timeout !== undefined) {
    timeoutMs = timeout * 1000;
    oack.set('timeout', String(timeout));
  }
  const windowsize = integer(requested.get('windowsize'), 1, 0xffff);
  if (windowsize !== undefined) {
    const room = Math.max(1, Math.floor(limits.windowBytesMax / (blockBytes + DATA_HEADER_BYTES)));
    windowBlocks = Math.max(1, Math.min(windowsize, limits.windowBlocksMax, room));
    oack.set('windowsize', String(windowBlocks));
  }
  // In netascii the size on the wire is known only after the last byte was translated: better no promise than a wrong one
  if (requested.has('tsize') && size !== undefined && mode === 'octet') oack.set('tsize', String(size));
  return { terms: { blockBytes, windowBlocks, timeoutMs }, oack };
}

export interface AcceptedAnswer extends TransferTerms {
  /** Announced length of the file. */
  readonly size: number | undefined;
}

/**
 * The client's side: the terms of an OACK, or undefined when it holds what was not asked for or more than was asked for
 * (RFC 2347: the client then ends the transfer with error 8).
 */
export function acceptAnswer(asked: TftpOptions, answer: TftpOptions): AcceptedAnswer | undefined {
  for (const name of answer.keys()) if (!asked.has(name)) return undefined;
  let { blockBytes, windowBlocks } = DEFAULT_TERMS;
  let size: number | undefined;
  if (answer.has('blksize')) {
    const value = integer(answer.get('blksize'), MIN_BLOCK_BYTES, Number(asked.get('blksize')));
    if (value === undefined) return undefined;
    blockBytes = value;
  }
  if (answer.has('windowsize')) {
    const value = integer(answer.get('windowsize'), 1, Number(asked.get('windowsize')));
    if (value === undefined) return undefined;
    windowBlocks = value;
  }
  if (answer.has('tsize')) {
    size = integer(answer.get('tsize'), 0, Number.MAX_SAFE_INTEGER);
    if (size === undefined) return undefined;
  }
  return { blockBytes, windowBlocks, timeoutMs: undefined, size };
}

/** Decimal digits within the range, else undefined. */
function integer(value: string | undefined, low: number, high: number): number | undefined {
  if (value === undefined || !/^[0-9]{1,16}$/.test(value)) return undefined;
  const number = Number(value);
  return number >= low && number <= high ? number : undefined;
}
