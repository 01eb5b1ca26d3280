/** HTTP/1.1 messages as bytes (RFC 9112), as far as one request per connection needs them. */
import type { TcpConnection } from 'cdk8s-baremetal-runtime/core/network';

const LARGEST_HEAD_BYTES = 16 * 1024; // as in Node
const END_OF_HEAD = Buffer.from('\r\n\r\n');
const END_OF_LINE = Buffer.from('\r\n');

/** What came is no HTTP, or ends too early. */
export class HttpSyntaxError extends Error {}

export interface MessageHead {
  readonly startLine: string;
  /** Names in lower case; repeated fields are joined by commas. */
  readonly headers: Readonly<Record<string, string>>;
}

export function formatHead(startLine: string, headers: Readonly<Record<string, string>>): Uint8Array {
  for (const [name, value] of Object.entries(headers))
    if (/[^\w!#$%&'*+.^`|~-]/.test(name) || /[\r\n\0]/.test(value))
      throw new TypeError(`invalid character in header ${JSON.stringify(name)}`);
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.from(`${startLine}\r\n${fields.join('')}\r\n`, 'latin1');
}

function parseHead(text: string): MessageHead {
  const [startLine = '', ...lines] = text.split('\r\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const field = /^([\w!#$%&'*+.^`|~-]+):[ \t]*(.*?)[ \t]*$/.exec(line);
    if (!field) throw new HttpSyntaxError(`not a header field: ${JSON.stringify(line.slice(0, 80))}`);
    const name = (field[1] ?? '').toLowerCase();
    const value = field[2] ?? '';
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  return { startLine, headers };
}

export function formatChunk(data: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, END_OF_LINE]);
}

export const LAST_CHUNK: Uint8Array = Buffer.from('0\r\n\r\n');

/** Reads messages off a connection. */
export class HttpReader {
  private buffer: Buffer = Buffer.alloc(0);
  private readonly chunks: AsyncIterator<Uint8Array>;

  constructor(connection: TcpConnection) {
    this.chunks = connection[Symbol.asyncIterator]();
  }

  /** Undefined when the connection ends before a message begins. Throws HttpSyntaxError. */
  async head(): Promise<MessageHead | undefined> {
    const head = await this.until(END_OF_HEAD, LARGEST_HEAD_BYTES);
    return head === undefined ? undefined : parseHead(head);
  }

  /** The body; `toTheEnd` when a message without a length ends with the connection. Undefined when it is larger than `maxBytes`. */
  async body(headers: MessageHead['headers'], maxBytes: number, toTheEnd: boolean): Promise<Uint8Array | undefined> {
    if (headers['transfer-encoding']?.toLowerCase() === 'chunked') return this.chunkedBody(maxBytes);
    const length = headers['content-length'];
    if (length === undefined) return toTheEnd ? this.rest(maxBytes) : new Uint8Array();
    if (!/^\d{1,15}$/.test(length)) throw new HttpSyntaxError(`not a content-length: ${length}`);
    return Number(length) > maxBytes ? undefined : this.exactly(Number(length));
  }

  /** The body as it comes. Throws HttpSyntaxError when the connection ends before it does. */
  async *pieces(headers: MessageHead['headers']): AsyncGenerator<Uint8Array> {
    const length = headers['content-length'];
    if (headers['transfer-encoding']?.toLowerCase() === 'chunked') {
      for (;;) {
        const chunk = await this.chunk(Number.MAX_SAFE_INTEGER);
        if (chunk === undefined || chunk.length === 0) return;
        yield chunk;
      }
    }
    if (length !== undefined && !/^\d{1,15}$/.test(length)) throw new HttpSyntaxError(`not a content-length: ${length}`);
    let missing = length === undefined ? Number.POSITIVE_INFINITY : Number(length);
    while (missing > 0) {
      if (this.buffer.length === 0 && !(await this.more())) {
        if (length === undefined) return;
        throw new HttpSyntaxError('the connection ended within a body');
      }
      const piece = this.cut(Math.min(missing, this.buffer.length), 0);
      missing -= piece.length;
      yield piece;
    }
  }

  /** Discards whatever else comes; resolves when the peer ends or drops the connection. */
  async gone(): Promise<void> {
    try {
      while (await this.more()) this.buffer = Buffer.alloc(0);
    } catch {
      // dropped
    }
  }

  private async chunkedBody(maxBytes: number): Promise<Uint8Array | undefined> {
    const parts: Uint8Array[] = [];
    for (let left = maxBytes; ; ) {
      const chunk = await this.chunk(left);
      if (chunk === undefined) return undefined;
      if (chunk.length === 0) return Buffer.concat(parts);
      left -= chunk.length;
      parts.push(chunk);
    }
  }

  /** The next chunk; an empty one is the end, undefined one that is too large. */
  private async chunk(maxBytes: number): Promise<Uint8Array | undefined> {
    const size = await this.until(END_OF_LINE, 1024);
    if (size === undefined || !/^[\da-f]{1,12}(;.*)?$/i.test(size)) throw new HttpSyntaxError('not a chunk size');
    const length = Number.parseInt(size, 16);
    if (length > maxBytes) return undefined;
    if (length === 0) {
      while (await this.until(END_OF_LINE, LARGEST_HEAD_BYTES)); // trailers
      return new Uint8Array();
    }
    const data = await this.exactly(length);
    if ((await this.until(END_OF_LINE, 2)) !== '') throw new HttpSyntaxError('a chunk is longer than it says');
    return data;
  }

  private async rest(maxBytes: number): Promise<Uint8Array | undefined> {
    while (this.buffer.length <= maxBytes) if (!(await this.more())) return this.cut(this.buffer.length, 0);
    return undefined;
  }

  private async exactly(length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (let missing = length; missing > 0; ) {
      if (this.buffer.length === 0 && !(await this.more())) throw new HttpSyntaxError('the connection ended within a body');
      const part = this.cut(Math.min(missing, this.buffer.length), 0);
      missing -= part.length;
      parts.push(part);
    }
    return Buffer.concat(parts);
  }

  private async until(mark: Buffer, maxBytes: number): Promise<string | undefined> {
    for (;;) {
      const at = this.buffer.indexOf(mark);
      if (at >= 0 && at <= maxBytes) return Buffer.from(this.cut(at, mark.length)).toString('latin1');
      if (this.buffer.length > maxBytes + mark.length) throw new HttpSyntaxError('a head is too long');
      if (await this.more()) continue;
      if (this.buffer.length > 0) throw new HttpSyntaxError('the connection ended within a head');
      return undefined;
    }
  }

  private async more(): Promise<boolean> {
    const { done, value } = await this.chunks.next();
    if (done) return false;
    this.buffer = this.buffer.length > 0 ? Buffer.concat([this.buffer, value]) : Buffer.from(value);
    return true;
  }

  private cut(length: number, skip: number): Uint8Array {
    const part = this.buffer.subarray(0, length);
    this.buffer = this.buffer.subarray(length + skip);
    return new Uint8Array(part);
  }
}
