/**
 * The netascii mode (RFC 1350 section 1, RFC 764): a line end travels as CR LF, a lone CR as CR NUL. Both directions keep
 * what is cut at a chunk's edge, so that chunks may be of any length.
 */
const LF = 0x0a;
const CR = 0x0d;

/** Local text (lines end in LF) to the wire. A byte never depends on its neighbours, so no state is kept. */
export function toNetascii(chunk: Uint8Array): Uint8Array {
  let extra = 0;
  for (const byte of chunk) if (byte === LF || byte === CR) extra++;
  if (extra === 0) return chunk;
  const out = new Uint8Array(chunk.length + extra);
  let position = 0;
  for (const byte of chunk) {
    if (byte === LF) {
      out[position++] = CR;
      out[position++] = LF;
    } else if (byte === CR) {
      out[position++] = CR;
      out[position++] = 0;
    } else out[position++] = byte;
  }
  return out;
}

/** The wire to local text. */
export class NetasciiDecoder {
  private pendingCr = false;

  push(chunk: Uint8Array): Uint8Array {
    const out = new Uint8Array(chunk.length + 1);
    let length = 0;
    for (const byte of chunk) {
      if (this.pendingCr) {
        this.pendingCr = false;
        if (byte === LF || byte === 0) {
          out[length++] = byte === LF ? LF : CR;
          continue;
        }
        out[length++] = CR; // a CR before anything else is out of the standard; kept as it is
      }
      if (byte === CR) this.pendingCr = true;
      else out[length++] = byte;
    }
    return out.subarray(0, length);
  }

  /** A CR at the very end of the file. */
  end(): Uint8Array {
    const rest = this.pendingCr ? Uint8Array.of(CR) : new Uint8Array(0);
    this.pendingCr = false;
    return rest;
  }
}
