export type { HostOptions, Interface, SimHost } from './host.ts';
export { SimNetwork, type SimNetworkOptions } from './network.ts';
export { formatEvent, type Packet, type PacketFate, type TcpPacket, type TraceEvent, type UdpPacket } from './packet.ts';
export { HEALTHY_LINK, type LinkFaults, type Segment } from './segment.ts';
