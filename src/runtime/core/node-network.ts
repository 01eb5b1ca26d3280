/** The `Network` of a real machine: the only file that opens sockets. */
import { createSocket } from 'node:dgram';
import { type LookupOneOptions, lookup as resolveName } from 'node:dns';
import { readFileSync } from 'node:fs';
import { createServer, Agent as HttpAgent, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer, Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { createServer as createTcpServer, isIP, isIPv4, isIPv6, type Server, type Socket, connect as tcpConnect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import {
  CertificateRefused,
  type Endpoint,
  type HttpClientRequest,
  type HttpClientResponse,
  type HttpClientStream,
  type HttpHandler,
  type HttpRequest,
  type HttpServer,
  type Network,
  type TcpConnection,
  type UdpSocket,
} from './network.ts';

const DEFAULT_SERVER_BODY_BYTES = 1024 * 1024;
const DEFAULT_CLIENT_BODY_BYTES = 16 * 1024 * 1024;
/** Enough for a burst of 64 TFTP windows; the kernel caps it at net.core.rmem_max. */
const UDP_RECEIVE_BUFFER_BYTES = 1024 * 1024;

export const nodeNetwork: Network = {
  udp(options, handlers) {
    return new Promise((resolve, reject) => {
      const { peer, stable = false } = options;
      const version = isIPv6(options.address ?? peer?.address ?? '') ? 6 : 4;
      const socket = createSocket({ type: `udp${version}`, reuseAddr: options.reuseAddress ?? false, lookup });
      const told = (error: Error | null): void => {
        if (error) handlers.onError?.(error);
      };
      let closed: Promise<void> | undefined;
      const wrapped: UdpSocket & { local: Endpoint; mtu: number | undefined } = {
        local: { address: '', port: 0 },
        mtu: undefined,
        send(data, to) {
          if (closed) return;
          try {
            // a copy: when the socket's buffer is full, Node sends later, and the caller may already have reused its own
            const bytes = stable ? data : Buffer.from(data);
            if (peer)
              socket.send(bytes); // what happens to it comes as an event
            else socket.send(bytes, to.port, version === 6 ? mappedAddress(to.address) : to.address, told);
          } catch (error) {
            handlers.onError?.(error as Error);
          }
        },
        close() {
          closed ??= new Promise((done) => socket.close(() => done()));
          return closed;
        },
      };
      const failed = (error: Error): void => {
        socket.close();
        reject(error);
      };
      socket.once('error', failed);
      const onReady = (): void => {
        socket.off('error', failed);
        socket.on('error', (error) => handlers.onError?.(error));
        const { address, port } = socket.address();
        wrapped.local = { address: plainAddress(address), port };
        wrapped.mtu = mtuOf(wrapped.local.address);
        resolve(wrapped);
      };
      const onListening = (): void => {
        if (options.broadcast) socket.setBroadcast(true);
        try {
          socket.setRecvBufferSize(UDP_RECEIVE_BUFFER_BYTES);
        } catch {
          // the default buffer works, only with less room for bursts
        }
        if (peer) socket.connect(peer.port, peer.address, onReady);
        else onReady();
      };
      socket.on('message', (data, from) => handlers.onMessage(data, { address: plainAddress(from.address), port: from.port }, wrapped));
      if (options.fd === undefined)
        socket.bind({ port: options.port ?? 0, ...(options.address && { address: options.address }) }, onListening);
      else socket.bind({ fd: options.fd }, onListening);
    });
  },

  connect({ address, port, localAddress, signal }) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const socket = tcpConnect({ host: address, port, noDelay: true, allowHalfOpen: true, ...(localAddress && { localAddress }) });
      const onAbort = (): void => {
        socket.destroy();
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const onError = (error: Error): void => {
        signal?.removeEventListener('abort', onAbort);
        reject(error);
      };
      socket.once('error', onError);
      socket.once('connect', () => {
        signal?.removeEventListener('abort', onAbort);
        socket.off('error', onError);
        resolve(new NodeTcpConnection(socket));
      });
    });
  },

  async listen({ address, port }, onConnection) {
    const open = new Set<Socket>();
    const server = createTcpServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
      onConnection(new NodeTcpConnection(socket));
    });
    const local = await bind(server, address, port);
    return { local, close: () => shut(server, open) };
  },

  async serveHttp({ address, port, maxBodyBytes = DEFAULT_SERVER_BODY_BYTES, tls }, handler) {
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => void answer(request, response, handler, maxBodyBytes);
    const secure = tls && createHttpsServer({ ...tls, minVersion: 'TLSv1.2' }, onRequest);
    const server = secure ?? createServer(onRequest);
    const local = await bind(server, address, port);
    const close: HttpServer['close'] = async (graceMs = 1000) => {
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), graceMs);
      await new Promise<void>((resolve) => server.close(() => resolve()));
      clearTimeout(timer);
    };
    return { local, close, ...(secure && { renewTls: (renewed) => secure.setSecureContext({ ...renewed, minVersion: 'TLSv1.2' }) }) };
  },

  request: sendRequest,
  requestStream: streamRequest,

  ...(process.platform === 'linux' && { hardwareAddressOf }),
};

class NodeTcpConnection implements TcpConnection {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  private failure: Error | undefined;

  constructor(private readonly socket: Socket) {
    this.local = { address: socket.localAddress ?? '', port: socket.localPort ?? 0 };
    this.remote = { address: plainAddress(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0 };
    socket.on('error', (error) => {
      this.failure ??= error;
    });
  }

  write(data: Uint8Array | readonly Uint8Array[]): Promise<void> {
    const { socket } = this;
    const pieces = data instanceof Uint8Array ? [data] : data;
    const last = pieces.at(-1);
    if (last === undefined) return Promise.resolve();
    if (socket.destroyed || socket.writableEnded) return Promise.reject(this.failure ?? new Error('the connection is closed'));
    // settled when the kernel has the bytes: the caller may then use its buffer again
    return new Promise((resolve, reject) => {
      socket.cork(); // one system call for all of them (writev)
      for (const piece of pieces.slice(0, -1)) socket.write(piece);
      socket.write(last, (error) => {
        if (error) reject(this.failure ?? error);
        else resolve();
      });
      socket.uncork();
    });
  }

  end(): void {
    this.socket.end();
  }

  destroy(error?: Error): void {
    this.failure ??= error;
    // an error handed to socket.destroy would be emitted as an event; it is kept here and given to readers and writers
    this.socket.resetAndDestroy();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    let ended = false;
    try {
      // Node would destroy the socket at the end of the loop, and with it the half that may still write
      for await (const chunk of this.socket.iterator({ destroyOnReturn: false })) yield chunk as Uint8Array;
      ended = true;
    } catch (error) {
      throw this.failure ?? error;
    } finally {
      if (!ended) this.socket.destroy();
    }
    if (this.failure) throw this.failure;
  }
}

/** Numbers need no resolver, which would cost each datagram a turn of the event loop. */
function lookup(
  name: string,
  options: LookupOneOptions,
  done: (error: NodeJS.ErrnoException | null, address: string, family: number) => void,
) {
  const version = isIP(name);
  if (version === 0) resolveName(name, options, done);
  else done(null, name, version);
}

/** The spelling of an IPv4 address on an IPv6 socket. */
function mappedAddress(address: string): string {
  return isIPv4(address) ? `::ffff:${address}` : address;
}

const ARP_TABLE_KEPT_MS = 20;
let arpTable: { readonly text: string; readonly untilMs: number } | undefined;

/** Lines of `address type flags mac mask device`; flag 2: complete (proc_net(5), ATF_COM). */
function hardwareAddressOf(address: string): string | undefined {
  try {
    if (!arpTable || performance.now() >= arpTable.untilMs)
      arpTable = { text: readFileSync('/proc/net/arp', 'utf8'), untilMs: performance.now() + ARP_TABLE_KEPT_MS };
  } catch {
    return undefined; // a container may hide it
  }
  for (const line of arpTable.text.split('\n')) {
    const [ip, , flags, mac] = line.split(/\s+/);
    if (ip === address && (Number(flags) & 2) !== 0 && mac !== '00:00:00:00:00:00') return mac;
  }
  return undefined;
}

/** Addresses and their interfaces change seldom, and a room full of machines asks for it at once. */
const MTU_KEPT_MS = 5000;
const knownMtus = new Map<string, { readonly mtu: number | undefined; readonly untilMs: number }>();

/** Linux tells it in /sys; undefined elsewhere, and for addresses of no interface (0.0.0.0). */
function mtuOf(address: string): number | undefined {
  const known = knownMtus.get(address);
  if (known && performance.now() < known.untilMs) return known.mtu;
  const owner = Object.entries(networkInterfaces()).find(([, own]) => own?.some((one) => one.address === address))?.[0];
  // all of 127.0.0.0/8 is the loopback interface's, without being listed
  const name = owner ?? (address.startsWith('127.') ? 'lo' : undefined);
  let mtu: number | undefined;
  try {
    if (name !== undefined) mtu = Number(readFileSync(`/sys/class/net/${name.replace(/:.*$/, '')}/mtu`, 'utf8'));
  } catch {
    // another operating system, or the interface has just gone
  }
  if (knownMtus.size > 256) knownMtus.clear();
  knownMtus.set(address, { mtu, untilMs: performance.now() + MTU_KEPT_MS });
  return mtu;
}

/** Node reports IPv4 peers of a dual-stack socket as ::ffff:192.0.2.1. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
}

function bind(server: Server, address: string | undefined, port: number): Promise<Endpoint> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, ...(address && { host: address }) }, () => {
      server.off('error', reject);
      const bound = server.address();
      if (bound === null || typeof bound === 'string') reject(new Error('the listener has no address'));
      else resolve({ address: bound.address, port: bound.port });
    });
  });
}

function shut(server: Server, open: Iterable<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of open) socket.destroy();
  });
}

async function answer(incoming: IncomingMessage, outgoing: ServerResponse, handler: HttpHandler, maxBodyBytes: number): Promise<void> {
  const gone = new AbortController();
  outgoing.once('close', () => gone.abort(new Error('the client closed the connection')));
  try {
    const body = await collect(incoming, maxBodyBytes);
    if (!body) {
      outgoing
        .writeHead(413, { 'content-type': 'text/plain', connection: 'close' })
        .end(`The body is larger than ${maxBodyBytes} bytes.\n`);
      return;
    }
    const target = parseTarget(incoming.url ?? '/');
    if (!target) {
      outgoing.writeHead(400, { 'content-type': 'text/plain' }).end('The request target is not a valid path.\n');
      return;
    }
    const request: HttpRequest = {
      method: incoming.method ?? 'GET',
      path: target.path,
      query: target.query,
      headers: flatten(incoming.headers),
      body,
      remote: { address: plainAddress(incoming.socket.remoteAddress ?? ''), port: incoming.socket.remotePort ?? 0 },
      local: { address: plainAddress(incoming.socket.localAddress ?? ''), port: incoming.socket.localPort ?? 0 },
      signal: gone.signal,
    };
    const response = await handler(request);
    outgoing.writeHead(response.status, capitalised(response.headers ?? {}));
    if (response.body === undefined || typeof response.body === 'string' || response.body instanceof Uint8Array) {
      outgoing.end(response.body);
      return;
    }
    for await (const chunk of response.body) {
      if (gone.signal.aborted) return;
      if (!outgoing.write(chunk))
        await new Promise<void>((resolve) => {
          const settle = (): void => {
            outgoing.off('drain', settle);
            outgoing.off('close', settle);
            resolve();
          };
          outgoing.on('drain', settle);
          outgoing.on('close', settle);
        });
    }
    outgoing.end();
  } catch {
    // a handler reports its own failures as responses; what still arrives here must not take the process down
    if (!outgoing.headersSent) outgoing.writeHead(500, { 'content-type': 'text/plain' }).end('Internal error.\n');
    else outgoing.destroy();
  }
}

function parseTarget(url: string): { path: string; query: URLSearchParams } | undefined {
  const mark = url.indexOf('?');
  const raw = mark < 0 ? url : url.slice(0, mark);
  try {
    const path = decodeURIComponent(raw);
    if (!path.startsWith('/') || path.includes('\0')) return undefined;
    return { path, query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)) };
  } catch {
    return undefined; // a broken percent escape
  }
}

/** `Content-Length`, not `content-length`: names are case-insensitive (RFC 9110 section 5.1), but GRUB 2.06 looks for this spelling. */
function capitalised(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.replace(/(?<=^|-)[a-z]/g, (letter) => letter.toUpperCase()), value]),
  );
}

function flatten(headers: IncomingMessage['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value]],
    ),
  );
}

async function collect(stream: IncomingMessage, maxBytes: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += (chunk as Uint8Array).length;
    if (length > maxBytes) return undefined;
    chunks.push(chunk as Uint8Array);
  }
  return Buffer.concat(chunks);
}

/** Idle connections hold no process up, and the server ends them in its own time. */
const keptOpen = { http: new HttpAgent({ keepAlive: true }), https: new HttpsAgent({ keepAlive: true }) };

async function sendRequest(options: HttpClientRequest): Promise<HttpClientResponse> {
  const response = await openRequest(options);
  const body = await collect(response, options.maxBodyBytes ?? DEFAULT_CLIENT_BODY_BYTES);
  if (!body) throw new Error(`the answer of ${options.url} is larger than allowed`);
  return { status: response.statusCode ?? 0, headers: flatten(response.headers), body };
}

async function streamRequest(options: HttpClientRequest): Promise<HttpClientStream> {
  const response = await openRequest({ ...options, keepAlive: false });
  return { status: response.statusCode ?? 0, headers: flatten(response.headers), body: piecesOf(response, options.signal) };
}

async function* piecesOf(response: IncomingMessage, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of response) yield piece as Uint8Array;
  } catch (error) {
    throw signal?.aborted ? signal.reason : error;
  }
  signal?.throwIfAborted(); // Node ends the loop as if that were all
  if (!response.complete) throw new Error('the connection ended within the answer');
}

/**
 * A connection to a server whose certificate was looked at. Node would be told to trust nobody or to ask nobody; here the handshake ends first, then the certificate is
 * judged, and only then is there a socket that a request could go out on.
 */
function judgedConnection({ url, ca, certificate, localAddress, signal }: HttpClientRequest): Promise<TLSSocket> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      host,
      port: port === '' ? 443 : Number(port),
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: false, // judged below, by the authorities as Node found it or by the fingerprint
      ...(isIP(host) === 0 && { servername: host }),
      ...(ca !== undefined && { ca }),
      ...(localAddress && { localAddress }),
    });
    const stop = (error: unknown): void => {
      signal?.removeEventListener('abort', onAbort);
      socket.destroy();
      reject(error);
    };
    const onAbort = (): void => stop(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) onAbort();
    socket.once('error', stop);
    socket.once('secureConnect', () => {
      const shown = (socket.getPeerCertificate().fingerprint256 ?? '').replaceAll(':', '').toLowerCase();
      const pin = certificate?.sha256;
      if (pin !== undefined && (shown === '' || shown !== pin)) return stop(new CertificateRefused('another one is pinned', shown));
      if (pin === undefined && !socket.authorized) return stop(new CertificateRefused(String(socket.authorizationError), shown));
      signal?.removeEventListener('abort', onAbort);
      socket.off('error', stop);
      resolve(socket);
    });
  });
}

/** Resolves with the head of the answer. */
async function openRequest(options: HttpClientRequest): Promise<IncomingMessage> {
  const judged = options.certificate && options.url.startsWith('https:') ? await judgedConnection(options) : undefined;
  return new Promise((resolve, reject) => {
    const { signal } = options;
    const secure = options.url.startsWith('https:');
    const send = secure ? httpsRequest : httpRequest;
    const outgoing = send(options.url, {
      method: options.method ?? 'GET',
      headers: {
        ...options.headers,
        ...(options.body !== undefined && { 'content-length': Buffer.byteLength(options.body) }),
      },
      // without an agent: one connection a request, nothing lingers after close; and with none at all Node takes the connection that it is given
      ...(judged ? { createConnection: () => judged } : { agent: options.keepAlive ? keptOpen[secure ? 'https' : 'http'] : false }),
      ...(options.localAddress && { localAddress: options.localAddress }),
      ...(options.ca !== undefined && { ca: options.ca }),
      ...(signal && { signal }),
    });
    outgoing.on('error', (error) => reject(signal?.aborted ? signal.reason : error)); // an error after the answer is told to its reader
    outgoing.once('response', resolve);
    outgoing.end(options.body);
  });
}
