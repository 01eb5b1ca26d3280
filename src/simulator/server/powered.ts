/** What ends with a machine's power, though nobody waits for it any more: ports that stay open for a while, and the timers that would close them. */
import type { Clock, Network, UdpSocket } from 'cdk8s-baremetal-runtime/core/index';

export class Powered {
  readonly clock: Clock;
  readonly network: Network;
  private readonly timers = new Set<{ cancel(): void }>();
  private readonly sockets = new Set<UdpSocket>();

  constructor({ clock, network }: { readonly clock: Clock; readonly network: Network }) {
    this.clock = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      after: (delayMs, callback) => {
        const timer = clock.after(delayMs, () => {
          this.timers.delete(timer);
          callback();
        });
        this.timers.add(timer);
        return {
          cancel: () => {
            this.timers.delete(timer);
            timer.cancel();
          },
        };
      },
    };
    this.network = {
      udp: async (options, handlers) => {
        const socket = await network.udp(options, handlers);
        const close = socket.close.bind(socket);
        const tracked: UdpSocket = {
          local: socket.local,
          send: (data, to) => socket.send(data, to),
          close: () => {
            this.sockets.delete(tracked);
            return close();
          },
        };
        this.sockets.add(tracked);
        return tracked;
      },
      connect: (options) => network.connect(options),
      listen: (options, onConnection) => network.listen(options, onConnection),
      serveHttp: (options, handler) => network.serveHttp(options, handler),
      request: (request) => network.request(request),
      requestStream: (request) => network.requestStream(request),
    };
  }

  /** Resolves when the ports are free. What still waits for one of the timers waits for ever: end it by its signal first. */
  async off(): Promise<void> {
    for (const timer of this.timers) timer.cancel();
    this.timers.clear();
    await Promise.all([...this.sockets].map((socket) => socket.close()));
  }
}
