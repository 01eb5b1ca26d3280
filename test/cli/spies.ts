/** The real network and clock, with a count of what is still open: what a run leaves behind shows at once, not after a wait. */
import type { Clock, Network, TcpConnection, UdpSocket } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';

export interface Datagram {
  readonly data: Uint8Array;
  readonly port: number;
}

export class SpyNetwork implements Network {
  /** What is open, in words. */
  readonly open = new Map<number, string>();
  /** Datagrams received on each local port. */
  readonly received: Datagram[] = [];
  private count = 0;

  udp: Network['udp'] = async (options, handlers) => {
    const socket = await nodeNetwork.udp(options, {
      ...handlers,
      onMessage: (data, from, own) => {
        this.received.push({ data: Uint8Array.from(data), port: own.local.port });
        handlers.onMessage(data, from, this.sockets.get(own) ?? own);
      },
    });
    const end = this.opened(`udp ${socket.local.address}:${socket.local.port}`);
    const spied: UdpSocket = {
      local: socket.local,
      send: (data, to) => socket.send(data, to),
      close: async () => {
        await socket.close();
        end();
      },
    };
    this.sockets.set(socket, spied);
    return spied;
  };

  connect: Network['connect'] = (options) => nodeNetwork.connect(options);

  listen: Network['listen'] = async (options, onConnection) => {
    const listener = await nodeNetwork.listen(options, (connection: TcpConnection) => onConnection(connection));
    const end = this.opened(`tcp ${listener.local.address}:${listener.local.port}`);
    return {
      local: listener.local,
      close: async () => {
        await listener.close();
        end();
      },
    };
  };

  serveHttp: Network['serveHttp'] = async (options, handler) => {
    const server = await nodeNetwork.serveHttp(options, handler);
    const end = this.opened(`http ${server.local.address}:${server.local.port}`);
    return {
      local: server.local,
      close: async (graceMs) => {
        await server.close(graceMs);
        end();
      },
    };
  };

  request: Network['request'] = (request) => nodeNetwork.request(request);
  requestStream: Network['requestStream'] = (request) => nodeNetwork.requestStream(request);

  private readonly sockets = new WeakMap<UdpSocket, UdpSocket>();

  private opened(what: string): () => void {
    const number = ++this.count;
    this.open.set(number, what);
    return () => this.open.delete(number);
  }
}

export class SpyClock implements Clock {
  readonly pending = new Map<number, { readonly delayMs: number; readonly where: string }>();
  private count = 0;

  now = (): number => nodeClock.now();
  monotonic = (): number => nodeClock.monotonic();

  after: Clock['after'] = (delayMs, callback) => {
    const number = ++this.count;
    this.pending.set(number, { delayMs, where: new Error('set').stack ?? '' });
    const timer = nodeClock.after(delayMs, () => {
      this.pending.delete(number);
      callback();
    });
    return {
      cancel: () => {
        this.pending.delete(number);
        timer.cancel();
      },
    };
  };
}
