/** How a simulated network card reaches DHCP before it has an address: by broadcast on its segment, or through a relay agent. */

import { type DhcpMessage, decodeDhcp, encodeDhcp, macOf } from 'cdk8s-baremetal-runtime/boot/dhcp/index';
import type { Endpoint, Network, UdpSocket } from 'cdk8s-baremetal-runtime/core/index';

/** A card's own view of the provisioning network while it has no address. */
export interface DhcpPort {
  send(message: DhcpMessage): void;
  close(): Promise<void>;
}

export interface ProvisioningWire {
  /** Sends and hears DHCP for one card; `onReply` hears every reply on the wire that is meant for it. */
  open(mac: string, onReply: (message: DhcpMessage) => void): Promise<DhcpPort>;
}

const LIMITED_BROADCAST = '255.255.255.255';

/** The card's own segment: broadcasts from port 68 to port 67, as a boot ROM does. */
export function broadcastWire(
  network: Network,
  ports: { readonly server: number; readonly client: number } = { server: 67, client: 68 },
): ProvisioningWire {
  return {
    async open(mac, onReply) {
      const socket = await network.udp(
        { port: ports.client, broadcast: true, reuseAddress: true },
        { onMessage: (data) => deliver(data, (message) => macOf(message) === mac && onReply(message)) },
      );
      return {
        send: (message) => socket.send(encodeDhcp(message), { address: LIMITED_BROADCAST, port: ports.server }),
        close: () => socket.close(),
      };
    },
  };
}

export interface RelayOptions {
  readonly network: Network;
  /** The relay's address on the machines' side; it becomes giaddr, and the server answers there. */
  readonly address: string;
  readonly server: Endpoint;
}

/**
 * A relay agent (RFC 1542 section 4) with the cards plugged straight into it: for machines that share no broadcast domain
 * with the server, such as those on loopback. Close it when the machines are gone.
 */
export class RelayWire implements ProvisioningWire {
  private readonly cards = new Map<string, (message: DhcpMessage) => void>();
  private socket: UdpSocket | undefined;

  constructor(private readonly options: RelayOptions) {}

  /** Resolves when replies are heard; relays and servers use the same port. */
  async start(): Promise<void> {
    const { network, address, server } = this.options;
    this.socket = await network.udp(
      { address, port: server.port, reuseAddress: true },
      { onMessage: (data) => deliver(data, (message) => this.cards.get(macOf(message) ?? '')?.(message)) },
    );
  }

  async open(mac: string, onReply: (message: DhcpMessage) => void): Promise<DhcpPort> {
    this.cards.set(mac, onReply);
    const { address, server } = this.options;
    return {
      send: (message) => this.socket?.send(encodeDhcp({ ...message, giaddr: address, hops: message.hops + 1 }), server),
      close: async () => {
        this.cards.delete(mac);
      },
    };
  }

  async close(): Promise<void> {
    await this.socket?.close();
  }
}

/** A card drops what it cannot read, as on any wire. */
function deliver(data: Uint8Array, handle: (message: DhcpMessage) => void): void {
  let message: DhcpMessage;
  try {
    message = decodeDhcp(data);
  } catch {
    return;
  }
  if (message.op === 'reply') handle(message);
}
