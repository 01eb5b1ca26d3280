/** A real Redis for tests, from Debian's redis-server: on loopback, without a file on disk, with a password if asked for. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { freePort } from './free-port.ts';

export const redisMissing = spawnSync('redis-server', ['--version']).error
  ? 'redis-server is missing (Debian package redis-server)'
  : undefined;

export interface RedisServer {
  readonly port: number;
  close(): Promise<void>;
}

export async function startRedis(password?: string): Promise<RedisServer> {
  const port = await freePort();
  // the password goes in by standard input: arguments can be read by everybody
  const child = spawn('redis-server', ['-'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = [
    'bind 127.0.0.1',
    `port ${port}`,
    'save ""',
    'appendonly no',
    'daemonize no',
    ...(password === undefined ? [] : [`requirepass ${password}`]),
  ];
  child.stdin.end(`${lines.join('\n')}\n`);
  await ready(child);
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        child.kill();
      }),
  };
}

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = '';
    child.stdout?.on('data', (chunk) => {
      output += String(chunk);
      if (output.includes('Ready to accept connections')) resolve();
    });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`redis-server ended with ${code}: ${output}`)));
  });
}

export type Reply = string | number | null | Reply[];

/** One call at a time. Speaks RESP2: what is asked is an array of bulk strings, what is answered is read by its first byte. */
export class RedisClient {
  private received = Buffer.alloc(0);
  private waiting: { resolve: (reply: Reply) => void; reject: (error: Error) => void } | undefined;

  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.deliver();
    });
    socket.on('error', (error) => this.waiting?.reject(error));
  }

  static async connect(host: string, port: number, password?: string): Promise<RedisClient> {
    const socket = connect(port, host);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    const client = new RedisClient(socket);
    if (password !== undefined) await client.call('AUTH', password);
    return client;
  }

  call(...words: readonly string[]): Promise<Reply> {
    this.socket.write(`*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`);
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private deliver(): void {
    const parsed = readReply(this.received, 0);
    if (!parsed || !this.waiting) return;
    this.received = this.received.subarray(parsed.end);
    const { resolve, reject } = this.waiting;
    this.waiting = undefined;
    if (parsed.error) reject(new Error(String(parsed.reply)));
    else resolve(parsed.reply);
  }
}

function readReply(buffer: Buffer, at: number): { reply: Reply; end: number; error?: boolean } | undefined {
  const line = buffer.indexOf('\r\n', at);
  if (line < 0) return undefined;
  const head = buffer.toString('utf8', at + 1, line);
  const end = line + 2;
  switch (String.fromCharCode(buffer[at] ?? 0)) {
    case '+':
      return { reply: head, end };
    case '-':
      return { reply: head, end, error: true };
    case ':':
      return { reply: Number(head), end };
    case '$': {
      const length = Number(head);
      if (length < 0) return { reply: null, end };
      if (buffer.length < end + length + 2) return undefined;
      return { reply: buffer.toString('utf8', end, end + length), end: end + length + 2 };
    }
    case '*': {
      const items: Reply[] = [];
      let next = end;
      for (let n = Number(head); n > 0; n--) {
        const item = readReply(buffer, next);
        if (!item) return undefined;
        items.push(item.reply);
        next = item.end;
      }
      return { reply: Number(head) < 0 ? null : items, end: next };
    }
    default:
      throw new Error(`not RESP: ${head}`);
  }
}
