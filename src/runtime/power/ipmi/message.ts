/** IPMI messages on a LAN (IPMI v2.0 rev 1.1 section 13.8, Table 13-8): what both session formats carry. */
import { asBuffer, MalformedPacket } from './bytes.ts';

/** Slave address of a BMC. */
export const BMC_ADDRESS = 0x20;
/** Software id 40h in bits 7:1, bit 0 set: a remote console (section 5.5). */
export const CONSOLE_ADDRESS = 0x81;

/** rqSeq has 6 bits. */
export const REQUEST_SEQUENCES = 64;

/** Even numbers are requests; a response carries the number above. */
export const NetFn = { chassis: 0x00, sensor: 0x04, app: 0x06, storage: 0x0a, transport: 0x0c, group: 0x2c } as const;

export interface IpmiRequest {
  readonly netFn: number;
  /** Responder's logical unit; 0 is the BMC itself. */
  readonly lun?: number;
  readonly sequence: number;
  readonly command: number;
  readonly data: Uint8Array;
}

export interface IpmiResponse extends IpmiRequest {
  readonly completionCode: number;
}

/*
 *  Request and response
 *  +--------+-----------+----------+--------+------------+-----+------+----------+
 *  | rsAddr | netFn 7:2 | checksum | rqAddr | rqSeq 7:2  | cmd | data | checksum |
 *  | 20h    | rsLUN 1:0 | of 2     | 81h    | rqLUN 1:0  |     | n    | of the   |
 *  |        |           |          |        |            |     |      | 3 and n  |
 *  +--------+-----------+----------+--------+------------+-----+------+----------+
 *  In a response the two addresses change places and the first data byte is the completion code (Table 5-2).
 */
const OVERHEAD_BYTES = 7;

export function encodeRequest(request: IpmiRequest): Buffer {
  return encode(BMC_ADDRESS, CONSOLE_ADDRESS, request.netFn, request, request.data);
}

export function encodeResponse(response: IpmiResponse): Buffer {
  const data = Buffer.allocUnsafe(1 + response.data.length);
  data[0] = response.completionCode;
  data.set(response.data, 1);
  return encode(CONSOLE_ADDRESS, BMC_ADDRESS, response.netFn | 1, response, data);
}

export function decodeRequest(payload: Uint8Array): IpmiRequest {
  const { data, ...header } = decode(payload);
  if (header.netFn & 1) throw new MalformedPacket('an IPMI response where a request was expected');
  return { ...header, data };
}

/** `netFn` of the result is that of the request it answers. */
export function decodeResponse(payload: Uint8Array): IpmiResponse {
  const { data, netFn, sequence, command, lun } = decode(payload);
  if (!(netFn & 1)) throw new MalformedPacket('an IPMI request where a response was expected');
  if (data.length === 0) throw new MalformedPacket('an IPMI response without a completion code');
  return { netFn: netFn & ~1, lun, sequence, command, completionCode: data.readUInt8(0), data: data.subarray(1) };
}

/** Two's complement of the sum modulo 256: all covered bytes and the checksum add up to zero. */
export function checksum(bytes: Uint8Array, start = 0, end = bytes.length): number {
  let sum = 0;
  for (let i = start; i < end; i++) sum += bytes[i] ?? 0;
  return -sum & 0xff;
}

function encode(to: number, from: number, netFn: number, header: IpmiRequest, data: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(OVERHEAD_BYTES + data.length);
  message[0] = to;
  message[1] = (netFn << 2) | (header.lun ?? 0);
  message[2] = checksum(message, 0, 2);
  message[3] = from;
  message[4] = (header.sequence << 2) & 0xff;
  message[5] = header.command;
  message.set(data, 6);
  message[message.length - 1] = checksum(message, 3, message.length - 1);
  return message;
}

function decode(payload: Uint8Array): { netFn: number; lun: number; sequence: number; command: number; data: Buffer } {
  const message = asBuffer(payload);
  if (message.length < OVERHEAD_BYTES) throw new MalformedPacket(`an IPMI message of ${message.length} bytes, at least 7 expected`);
  if (checksum(message, 0, 3) !== 0) throw new MalformedPacket('the header checksum of the IPMI message is wrong');
  if (checksum(message, 3) !== 0) throw new MalformedPacket('the data checksum of the IPMI message is wrong');
  const netFnLun = message.readUInt8(1);
  return {
    netFn: netFnLun >> 2,
    lun: netFnLun & 3,
    sequence: message.readUInt8(4) >> 2,
    command: message.readUInt8(5),
    data: message.subarray(6, message.length - 1),
  };
}
