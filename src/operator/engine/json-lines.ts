/** Bytes in any pieces → the JSON documents that they hold, one to a line: how a watch arrives. */

/** Longest line accepted: etcd refuses objects above 1.5 MiB, managedFields and escapes come on top. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;

/** @throws SyntaxError for a line that is not JSON, RangeError for an endless one. A last line without its end is dropped: the
 * connection broke inside it. */
export async function* jsonLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<unknown, void> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, from)) {
      pieces.push(chunk.subarray(from, end));
      const line = Buffer.concat(pieces).toString('utf8').trim();
      pieces = [];
      length = 0;
      from = end + 1;
      if (line !== '') yield JSON.parse(line);
    }
    if (from < chunk.length) pieces.push(chunk.subarray(from));
    length += chunk.length - from;
    if (length > MAX_LINE_BYTES) throw new RangeError(`a line of more than ${MAX_LINE_BYTES} bytes`);
  }
}
