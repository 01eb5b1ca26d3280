/** The netascii mode (RFC 1350 section 1, RFC 764): a line end travels as CR LF, a lone CR as CR NUL. */
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
