/** Serial over LAN: its packets and the commands around them (IPMI v2.0 rev 1.1 chapters 15 and 24). Both sides. */
import { ByteReader } from './bytes.ts';
import { Command, type IpmiCommand } from './commands.ts';
import { NetFn } from './message.ts';
import { PayloadType } from './rmcp-plus.ts';

export const SOL_HEADER_BYTES = 4;
/** 4 bits; 0 says "only an acknowledgement". */
export const SOL_SEQUENCES = 15;

/** Bits of the fourth byte, console to BMC. */
export const SolOperation = {
  nack: 0x40,
  ring: 0x20,
  break: 0x10,
  pauseCts: 0x08,
  dropDcd: 0x04,
  flushInbound: 0x02,
  flushOutbound: 0x01,
} as const;
/** BMC to console. */
export const SolStatus = { nack: 0x40, unavailable: 0x20, deactivated: 0x10, overrun: 0x08, break: 0x04 } as const;

export interface SolPacket {
  /** 1–15; 0 for a packet that carries no characters and wants no answer. */
  readonly sequence: number;
  /** What it acknowledges; 0 for nothing. */
  readonly ack: number;
  /** Characters of that packet that were taken. */
  readonly accepted: number;
  /** SolOperation or SolStatus bits. */
  readonly control: number;
  readonly data: Uint8Array;
}

/*
 *  Tables 15-2 and 15-3
 *  +--------------+-------------------+----------------+-----------------+-------------+
 *  | 3:0 sequence | 3:0 acknowledged  | characters     | operation (to   | characters  |
 *  |              | sequence          | accepted       | BMC) or status  | n           |
 *  +--------------+-------------------+----------------+-----------------+-------------+
 */
export function encodeSol(packet: SolPacket): Buffer {
  const head = Buffer.from([packet.sequence & 0x0f, packet.ack & 0x0f, packet.accepted, packet.control]);
  return Buffer.concat([head, packet.data]);
}

/** Throws MalformedPacket. */
export function decodeSol(payload: Uint8Array): SolPacket {
  const reader = new ByteReader(payload, 'the SOL packet');
  const sequence = reader.u8() & 0x0f;
  const ack = reader.u8() & 0x0f;
  const accepted = reader.u8();
  const control = reader.u8();
  return { sequence, ack, accepted, control, data: reader.rest() };
}

export function nextSolSequence(sequence: number): number {
  return (sequence % SOL_SEQUENCES) + 1;
}

export interface ActivatedPayload {
  /** Largest payload that the BMC takes, and that it sends, with the header of four bytes. */
  readonly inboundBytes: number;
  readonly outboundBytes: number;
  readonly port: number;
}

const INSTANCE = 1;
const ENCRYPT = 0x80;
const AUTHENTICATE = 0x40;

/*
 *  Table 24-2, Activate Payload for SOL
 *  request  +------+----------+-----------------------------------+---+---+---+    answer  +-----+---------+----------+------+------+
 *           | type | instance | 7: encrypted  6: authenticated    | 0 | 0 | 0 |            | aux | inbound | outbound | port | VLAN |
 *           | 1    | 1        | 5: test  3:2 alerts  1: handshake |   |   |   |            | 4   | 2       | 2        | 2    | 2    |
 *           +------+----------+-----------------------------------+---+---+---+            +-----+---------+----------+------+------+
 */
export function activateSol(protection: { readonly encrypted: boolean; readonly authenticated: boolean }): IpmiCommand<ActivatedPayload> {
  const aux = (protection.encrypted ? ENCRYPT : 0) | (protection.authenticated ? AUTHENTICATE : 0);
  return {
    name: 'Activate Payload',
    netFn: NetFn.app,
    command: Command.activatePayload,
    data: Uint8Array.of(PayloadType.sol, INSTANCE, aux, 0, 0, 0),
    parse(data) {
      const reader = new ByteReader(data, 'Activate Payload');
      reader.skip(4);
      return { inboundBytes: reader.u16(), outboundBytes: reader.u16(), port: reader.u16() };
    },
  };
}

/** Table 24-4. Ends it whoever has it. */
export const deactivateSol: IpmiCommand<void> = {
  name: 'Deactivate Payload',
  netFn: NetFn.app,
  command: Command.deactivatePayload,
  data: Uint8Array.of(PayloadType.sol, INSTANCE, 0, 0, 0, 0),
  parse: () => undefined,
};
