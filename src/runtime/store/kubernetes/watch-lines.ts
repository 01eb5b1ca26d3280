/** From the bytes of a watch to its events: a JSON object a line. Whatever comes, it ends with the stream, its error, or one of these two. */

/** What came is no watch. */
export class WatchBroken extends Error {}

/** The stream ended within an event, which will come again. */
export class WatchCut extends Error {}

export interface WatchLine {
  readonly type: string;
  readonly object: unknown;
}

/** An object of 1.5 MiB, with what JSON's escapes can make of it. */
const LONGEST_LINE_BYTES = 16 * 1024 * 1024;
const LINE_FEED = 0x0a;

export async function* watchLines(body: AsyncIterable<Uint8Array>, longestBytes = LONGEST_LINE_BYTES): AsyncGenerator<WatchLine> {
  let parts: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body) {
    let start = 0;
    for (let end = piece.indexOf(LINE_FEED); end >= 0; end = piece.indexOf(LINE_FEED, start)) {
      parts.push(piece.subarray(start, end));
      start = end + 1;
      const line = Buffer.concat(parts).toString('utf8');
      parts = [];
      length = 0;
      if (line.trim() !== '') yield parseLine(line);
    }
    if (start === piece.length) continue;
    length += piece.length - start;
    if (length > longestBytes) throw new WatchBroken(`an event is longer than ${longestBytes} bytes`);
    parts.push(Uint8Array.from(piece.subarray(start))); // a copy: the network may use its buffer again
  }
  if (length > 0) throw new WatchCut('the stream ended within an event');
}

function parseLine(line: string): WatchLine {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new WatchBroken('an event is not JSON', { cause });
  }
  if (typeof value !== 'object' || value === null || !('type' in value) || typeof value.type !== 'string' || !('object' in value))
    throw new WatchBroken('an event has no type or no object');
  return { type: value.type, object: value.object };
}
