/**
 * The protocol of Dataprobe's iBoot (DxP, TCP port 9100): the device says where its sequence starts, every request carries user and password. In clear: keep such
 * devices on a management network. Relay states are 1 on and 0 off, as the devices do it; the manual's table says otherwise.
 */
import { powerErrors } from '../errors.ts';

export const DXP_HELLO = Buffer.from('hello-000', 'latin1');
export const DXP_HEADER_BYTES = 47;
const NAME_BYTES = 21; // with the NUL at its end
const IO_COMMAND = 3;

export const DxpDescriptor = { changeRelay: 1, getRelays: 4 } as const;

export interface DxpRequest {
  readonly username: string;
  readonly password: string;
  readonly descriptor: number;
  readonly sequence: number;
  readonly payload: Uint8Array;
}

/*
 *  +---------+----------+----------+------------+---------+----------+------------------------------+
 *  | 3: I/O  | user     | password | descriptor | 00h     | sequence | changeRelay: relay 1, state 1|
 *  | 1       | 21       | 21       | 1          | 1       | 2, LSB   |                              |
 *  +---------+----------+----------+------------+---------+----------+------------------------------+
 *  answers: hello: the sequence, 2 bytes, LSB first; changeRelay: 0 done, else refused; getRelays: a byte for each relay
 */
export function encodeDxp({ username, password, descriptor, sequence, payload }: DxpRequest): Buffer {
  const head = Buffer.alloc(DXP_HEADER_BYTES);
  head[0] = IO_COMMAND;
  head.set(field('user', username), 1);
  head.set(field('password', password), 1 + NAME_BYTES);
  head[43] = descriptor;
  head.writeUInt16LE(sequence & 0xffff, 45);
  return Buffer.concat([head, payload]);
}

/** For the simulated device. Undefined: too short, or not an I/O command. */
export function decodeDxp(data: Buffer): DxpRequest | undefined {
  if (data.length < DXP_HEADER_BYTES || data[0] !== IO_COMMAND) return undefined;
  const text = (start: number): string => data.toString('utf8', start, start + NAME_BYTES).replace(/\0.*$/s, '');
  return {
    username: text(1),
    password: text(1 + NAME_BYTES),
    descriptor: data.readUInt8(43),
    sequence: data.readUInt16LE(45),
    payload: data.subarray(DXP_HEADER_BYTES),
  };
}

function field(name: string, text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length >= NAME_BYTES || bytes.includes(0))
    throw powerErrors.POWER_ACCESS_INVALID({ field: name, problem: `may have at most ${NAME_BYTES - 1} bytes and no NUL for an iBoot` });
  return bytes;
}
