/** A server and its observers on the fake network, for the scenario tables of this folder. */
import {
  createTftpServer,
  decode,
  type FileSource,
  memorySource,
  type TftpPacket,
  type TftpServer,
  type TftpServerOptions,
  type TransferReport,
} from 'cdk8s-baremetal-runtime/boot/tftp/index';
import type { Endpoint, Network, UdpSocket } from 'cdk8s-baremetal-runtime/core/index';
import { FakeClock, FakeNetwork, type Faults, seeded, seededRandom } from './fake-network.ts';

export const SERVER: Endpoint = { address: '10.0.0.1', port: 69 };

/** Bytes that differ everywhere, so that a block in the wrong place shows. */
export function content(length: number, seed = 7): Uint8Array {
  const next = seeded(seed);
  return Uint8Array.from({ length }, () => Math.floor(next() * 256));
}

export interface Lab {
  readonly clock: FakeClock;
  readonly network: FakeNetwork;
  /** The same, as the interface that the code under test takes. */
  readonly wire: Network;
  readonly server: TftpServer;
  readonly reports: TransferReport[];
}

export async function lab(
  files: Record<string, Uint8Array | string> | FileSource,
  { faults = {}, seed = 1, ...options }: Partial<TftpServerOptions> & { faults?: Faults; seed?: number } = {},
): Promise<Lab> {
  const clock = new FakeClock();
  const network = new FakeNetwork(clock, faults, seed);
  const wire: Network = network;
  const reports: TransferReport[] = [];
  const server = createTftpServer({
    network: wire,
    clock,
    random: seededRandom(seed),
    source: typeof files === 'function' ? files : memorySource(new Map(Object.entries(files))),
    address: SERVER.address,
    onTransfer: (report) => reports.push(report),
    ...options,
  });
  await server.start();
  return { clock, network, wire, server, reports };
}

/** A client that does only what the test tells it to. */
export class RawClient {
  readonly received: { packet: TftpPacket; from: Endpoint; at: number }[] = [];
  private constructor(
    readonly socket: UdpSocket,
    private readonly clock: FakeClock,
  ) {}

  static async open({ wire, clock }: Lab, address = '10.0.0.9', port = 0): Promise<RawClient> {
    const socket = await wire.udp(
      { address, port },
      { onMessage: (data, from) => client.received.push({ packet: decode(data), from, at: clock.monotonic() }) },
    );
    const client = new RawClient(socket, clock);
    return client;
  }

  /** Sends, lets `forMs` pass (default: a few round trips) and returns what came meanwhile. */
  async say(data: Uint8Array, to: Endpoint, forMs = 5): Promise<TftpPacket[]> {
    const before = this.received.length;
    this.socket.send(data, to);
    await this.clock.pass(forMs);
    return this.received.slice(before).map(({ packet }) => packet);
  }

  /** What comes in `forMs` of silence. */
  async listen(forMs: number): Promise<TftpPacket[]> {
    const before = this.received.length;
    await this.clock.pass(forMs);
    return this.received.slice(before).map(({ packet }) => packet);
  }

  /** The server's transfer port: the origin of the last packet. */
  get peer(): Endpoint {
    const last = this.received.at(-1);
    if (!last) throw new Error('the server has not answered');
    return last.from;
  }
}

/** Short names for what came: "data 1", "oack", "error 5". */
export function names(packets: readonly TftpPacket[]): string[] {
  return packets.map((packet) => {
    switch (packet.type) {
      case 'data':
        return `data ${packet.block}`;
      case 'ack':
        return `ack ${packet.block}`;
      case 'error':
        return `error ${packet.code}`;
      default:
        return packet.type;
    }
  });
}
