/**
 * HTTP on simulated TCP: real HTTP/1.1 bytes, so that a program that speaks HTTP over a bare connection is understood. One
 * request per connection. `https:` URLs go to port 443 without TLS: what would be inside the tunnel travels in the clear.
 */
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type {
  HttpClientRequest,
  HttpClientResponse,
  HttpClientStream,
  HttpHandler,
  HttpRequest,
  HttpResponse,
  HttpServeOptions,
  HttpServer,
  Network,
  TcpConnection,
} from 'cdk8s-baremetal-runtime/core/network';
import { formatChunk, formatHead, HttpReader, HttpSyntaxError, LAST_CHUNK, type MessageHead } from './http-codec.ts';
import { socketError } from './socket-error.ts';
import type { SimTcpListener } from './tcp-stack.ts';

const DEFAULT_SERVER_BODY_BYTES = 1024 * 1024;
const DEFAULT_CLIENT_BODY_BYTES = 16 * 1024 * 1024;
const DEFAULT_GRACE_MS = 1000;

type Write = (data: Uint8Array) => Promise<void>;

interface TcpNetwork extends Pick<Network, 'connect'> {
  listen(options: { address?: string; port: number }, onConnection: (connection: TcpConnection) => void): Promise<SimTcpListener>;
}

export async function serveHttpOver(
  network: TcpNetwork,
  clock: Clock,
  options: HttpServeOptions,
  handler: HttpHandler,
): Promise<HttpServer> {
  const running = new Map<TcpConnection, Promise<void>>();
  const listener = await network.listen(options, (connection) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    running.set(connection, promise);
    void serve(connection, handler, options.maxBodyBytes ?? DEFAULT_SERVER_BODY_BYTES, () => {
      running.delete(connection);
      resolve();
    });
  });
  let closing: Promise<void> | undefined;
  const close = async (graceMs: number): Promise<void> => {
    const grace = Promise.withResolvers<void>();
    const timer = clock.after(graceMs, grace.resolve);
    listener.stop();
    await Promise.race([Promise.all(running.values()), grace.promise]);
    timer.cancel();
    await listener.close();
  };
  return {
    local: listener.local,
    close(graceMs = DEFAULT_GRACE_MS) {
      closing ??= close(graceMs);
      return closing;
    },
  };
}

export async function requestOver(network: TcpNetwork, options: HttpClientRequest): Promise<HttpClientResponse> {
  const { method, connection, settled } = await send(network, options);
  try {
    const response = await readResponse(new HttpReader(connection), method, options);
    connection.end();
    return response;
  } catch (error) {
    connection.destroy();
    throw options.signal?.aborted ? options.signal.reason : error;
  } finally {
    settled();
  }
}

export async function requestStreamOver(network: TcpNetwork, options: HttpClientRequest): Promise<HttpClientStream> {
  const { method, connection, settled } = await send(network, options);
  const failed = (error: unknown): unknown => {
    connection.destroy();
    settled();
    return options.signal?.aborted ? options.signal.reason : error;
  };
  const reader = new HttpReader(connection);
  try {
    const { status, headers } = await readHead(reader);
    const body = async function* (): AsyncGenerator<Uint8Array> {
      let ended = false;
      try {
        if (!isBodiless(method, status)) yield* reader.pieces(headers);
        ended = true;
        connection.end();
        settled();
      } catch (error) {
        ended = true;
        throw failed(error);
      } finally {
        if (!ended) failed(undefined);
      }
    };
    return { status, headers, body: body() };
  } catch (error) {
    throw failed(error);
  }
}

interface Sent {
  readonly method: string;
  readonly connection: TcpConnection;
  /** The answer is whole, or given up: the request's signal means nothing any more. */
  readonly settled: () => void;
}

async function send(network: TcpNetwork, options: HttpClientRequest): Promise<Sent> {
  const { signal } = options;
  const url = new URL(options.url);
  const body = typeof options.body === 'string' ? Buffer.from(options.body) : options.body;
  const method = options.method ?? 'GET';
  const head = formatHead(`${method} ${url.pathname}${url.search} HTTP/1.1`, {
    host: url.host,
    connection: 'close',
    ...lowerCase(options.headers),
    ...(body && { 'content-length': `${body.length}` }),
  });
  const connection = await network.connect({
    address: url.hostname,
    port: Number(url.port) || (url.protocol === 'https:' ? 443 : 80),
    ...(options.localAddress !== undefined && { localAddress: options.localAddress }),
    ...(signal && { signal }),
  });
  const onAbort = (): void => connection.destroy(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const sent = connection.write(body ? Buffer.concat([head, body]) : head);
  sent.catch(() => undefined); // an answer may come before the whole body was sent; a lost connection shows when reading
  return { method, connection, settled: () => signal?.removeEventListener('abort', onAbort) };
}

async function readHead(reader: HttpReader): Promise<{ status: number; headers: MessageHead['headers'] }> {
  const head = await reader.head();
  const status = Number(/^HTTP\/1\.[01] (\d{3})( |$)/.exec(head?.startLine ?? '')?.[1]);
  if (!head || !status) throw head ? new HttpSyntaxError(`not a status line: ${head.startLine}`) : socketError('ECONNRESET', 'read');
  return { status, headers: head.headers };
}

function isBodiless(method: string, status: number): boolean {
  return method === 'HEAD' || status === 204 || status === 304;
}

async function readResponse(reader: HttpReader, method: string, { url, maxBodyBytes }: HttpClientRequest): Promise<HttpClientResponse> {
  const { status, headers } = await readHead(reader);
  if (isBodiless(method, status)) return { status, headers, body: new Uint8Array() };
  const body = await reader.body(headers, maxBodyBytes ?? DEFAULT_CLIENT_BODY_BYTES, true);
  if (!body) throw new Error(`the answer of ${url} is larger than allowed`);
  return { status, headers, body };
}

async function serve(connection: TcpConnection, handler: HttpHandler, maxBodyBytes: number, onDone: () => void): Promise<void> {
  const reader = new HttpReader(connection);
  const gone = new AbortController();
  let started = false;
  const write: Write = (data) => {
    started = true;
    return connection.write(data);
  };
  try {
    const request = await readRequest(reader, connection, maxBodyBytes, gone.signal);
    if (!request) {
      connection.end(); // the client went without asking anything
      return;
    }
    const clientGone = reader.gone().then(() => gone.abort(new Error('the client closed the connection')));
    const response = 'status' in request ? request : await handler(request);
    await respond(write, response, 'status' in request ? 'GET' : request.method, gone.signal);
    connection.end();
    await clientGone; // reading on keeps a reset from overtaking the answer
  } catch {
    // a handler reports its own failures as responses; what still arrives here ends the connection only
    if (started) connection.destroy();
    else await respond(write, { status: 500, body: 'Internal error.\n' }, 'GET', gone.signal).then(() => connection.end(), ignore);
  } finally {
    gone.abort(new Error('the response has been sent'));
    onDone();
  }
}

/** The request, or the answer that refuses it, or undefined when there is nobody to answer. */
async function readRequest(
  reader: HttpReader,
  { local, remote }: TcpConnection,
  maxBodyBytes: number,
  signal: AbortSignal,
): Promise<HttpRequest | HttpResponse | undefined> {
  let head: MessageHead | undefined;
  try {
    head = await reader.head();
    if (!head) return undefined;
    const [, method = '', target = ''] = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/.exec(head.startLine) ?? [];
    if (!method) return { status: 400 };
    const body = await reader.body(head.headers, maxBodyBytes, false);
    if (!body) return text(413, `The body is larger than ${maxBodyBytes} bytes.\n`);
    const mark = target.indexOf('?');
    const path = decodePath(mark < 0 ? target : target.slice(0, mark));
    if (path === undefined) return text(400, 'The request target is not a valid path.\n');
    const query = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1));
    return { method, path, query, headers: head.headers, body, remote, local, signal };
  } catch (error) {
    return error instanceof HttpSyntaxError ? { status: 400 } : undefined;
  }
}

async function respond(write: Write, response: HttpResponse, method: string, gone: AbortSignal): Promise<void> {
  const { status, body } = response;
  const given = lowerCase(response.headers);
  const start = `HTTP/1.1 ${status} ${status < 400 ? 'OK' : 'Error'}`;
  const bodiless = method === 'HEAD' || status === 204 || status === 304;
  if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) {
    const bytes = typeof body === 'string' ? Buffer.from(body) : (body ?? new Uint8Array());
    const length: Record<string, string> = status === 204 || status === 304 ? {} : { 'content-length': `${bytes.length}` };
    const head = formatHead(start, { ...length, ...given, connection: 'close' });
    await write(bodiless ? head : Buffer.concat([head, bytes]));
    return;
  }
  const chunked = given['content-length'] === undefined;
  await write(formatHead(start, { ...given, ...(chunked && { 'transfer-encoding': 'chunked' }), connection: 'close' }));
  for await (const part of body) {
    if (gone.aborted) return;
    const bytes = typeof part === 'string' ? Buffer.from(part) : part;
    if (bytes.length > 0 && !bodiless) await write(chunked ? formatChunk(bytes) : bytes);
  }
  if (chunked && !bodiless) await write(LAST_CHUNK);
}

function text(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain' }, body };
}

function decodePath(raw: string): string | undefined {
  try {
    const path = decodeURIComponent(raw);
    return path.startsWith('/') && !path.includes('\0') ? path : undefined;
  } catch {
    return undefined; // a broken percent escape
  }
}

function lowerCase(headers: Readonly<Record<string, string>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function ignore(): void {
  // the client is gone: nobody is left to tell
}
