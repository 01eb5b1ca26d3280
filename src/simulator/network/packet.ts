/** What travels on a simulated wire. Headers are fields, not bytes: no daemon reads below UDP and TCP. */
import type { Endpoint } from 'cdk8s-baremetal-runtime/core/network';

export interface UdpPacket {
  readonly protocol: 'udp';
  readonly source: Endpoint;
  readonly target: Endpoint;
  readonly data: Uint8Array;
}

export interface TcpPacket {
  readonly protocol: 'tcp';
  readonly source: Endpoint;
  readonly target: Endpoint;
  readonly syn?: boolean;
  readonly fin?: boolean;
  readonly rst?: boolean;
  /** Number of the first byte. Unlike on a real wire it never wraps. */
  readonly seq: number;
  /** The next byte expected from the other side; absent before it is known. */
  readonly ack?: number;
  /** Bytes that the sender of this packet can take. */
  readonly window: number;
  readonly data: Uint8Array;
}

export type Packet = UdpPacket | TcpPacket;

export type PacketFate = 'sent' | 'duplicated' | 'delivered' | 'lost' | 'filtered' | 'cut' | 'unreachable' | 'host-down';

export interface TraceEvent {
  /** Simulated time since the start. */
  readonly atMs: number;
  /** The host that sends, or the one that receives. */
  readonly host: string;
  readonly fate: PacketFate;
  readonly packet: Packet;
}

/** `12.1 server delivered udp 10.0.0.1:67 > 10.0.0.9:68 300 bytes`, for logs and for comparing histories. */
export function formatEvent({ atMs, host, fate, packet }: TraceEvent): string {
  const ends = `${packet.source.address}:${packet.source.port} > ${packet.target.address}:${packet.target.port}`;
  return `${atMs} ${host} ${fate} ${packet.protocol} ${ends} ${packet.protocol === 'tcp' ? `${formatTcp(packet)} ` : ''}${packet.data.length} bytes`;
}

function formatTcp({ syn, fin, rst, seq, ack, window }: TcpPacket): string {
  const flags = `${syn ? 'S' : ''}${fin ? 'F' : ''}${rst ? 'R' : ''}${ack === undefined ? '' : '.'}`;
  return `[${flags}] seq ${seq}${ack === undefined ? '' : ` ack ${ack}`} win ${window}`;
}

/** Bytes on the wire: data and Ethernet, IPv4 and transport headers. */
export function wireBytes({ protocol, data }: Packet): number {
  return data.length + 14 + 20 + (protocol === 'udp' ? 8 : 20);
}
