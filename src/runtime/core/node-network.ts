/** The `Network` of a real machine: only this and its neighbours node-*.ts open sockets. */
import { createSocket } from 'node:dgram';
import { type LookupOneOptions, lookup as resolveName } from 'node:dns';
import { readFileSync } from 'node:fs';
import { createServer as createTcpServer, isIP, isIPv4, isIPv6, type Server, type Socket, connect as tcpConnect } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Endpoint, Network, TcpConnection, UdpSocket } from './network.ts';
import { boundTo, plainAddress } from './node-address.ts';
import { sendRequest, streamRequest } from './node-http-client.ts';
import { serveHttp } from './node-http-server.ts';

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
    const local = await boundTo(server, address, port);
    return { local, close: () => shut(server, open) };
  },

  serveHttp,
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

function shut(server: Server, open: Iterable<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of open) socket.destroy();
  });
}
