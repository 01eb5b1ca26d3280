import type { MalformedPacket } from './bytes.ts';
import { type AsfMessage, decodeAsf, decodeRmcp } from './rmcp.ts';
import { decodeRmcpPlus, RMCP_PLUS_FORMAT, type RmcpPlusPacket } from './rmcp-plus.ts';
import { decodeV15, type V15Packet } from './session-v15.ts';

/** Whatever may arrive on port 623. */
export type Packet = V15Packet | RmcpPlusPacket | { readonly kind: 'asf'; readonly asf: AsfMessage };

/** Throws {@link MalformedPacket}, and nothing else. */
export function decodePacket(datagram: Uint8Array): Packet {
  const { class: rmcpClass, message } = decodeRmcp(datagram);
  if (rmcpClass === 'asf') return { kind: 'asf', asf: decodeAsf(message) };
  return ((message[0] ?? 0) & 0x0f) === RMCP_PLUS_FORMAT ? decodeRmcpPlus(message) : decodeV15(message);
}
