/** Serial over LAN and sensor records as ipmitool and the simulated BMC exchanged them, read and written again. */
import {
  activateSol,
  cipherSuite,
  decodePacket,
  decodeRequest,
  decodeResponse,
  decodeSdr,
  decodeSol,
  encodeRequest,
  encodeResponse,
  encodeSealed,
  encodeSol,
  openSealed,
  type SessionKeys,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../support.ts';
import { SDR_PACKETS, SOL_ACTIVATION, SOL_PACKETS } from './clear-captures.ts';

/** Nothing is sealed with them: suite 1 has neither integrity nor encryption. */
function clearKeys(): SessionKeys {
  const suite = cipherSuite(1);
  if (!suite) throw new Error('unknown suite');
  return { suite, k1: Buffer.alloc(0), aesKey: Buffer.alloc(0) };
}

function open(line: string) {
  const packet = decodePacket(Buffer.from(line.slice(2), 'hex'));
  if (packet.kind !== 'plus') throw new Error('not an RMCP+ packet');
  return { packet, payload: openSealed(packet, clearKeys()), fromConsole: line.startsWith('>') };
}

function sealAgain(line: string, payload: Uint8Array): string {
  const { payloadType, sessionId, sequence } = open(line).packet;
  const datagram = encodeSealed({ payloadType, sessionId, sequence, payload }, clearKeys(), seededRandom(1));
  return `${line.slice(0, 2)}${datagram.toString('hex')}`;
}

function ipmiAgain(line: string): string {
  const { payload, fromConsole } = open(line);
  return sealAgain(line, fromConsole ? encodeRequest(decodeRequest(payload)) : encodeResponse(decodeResponse(payload)));
}

describe('serial over LAN', () => {
  it('002-2: every packet is what it says, and is written the same', () => {
    for (const line of SOL_PACKETS) expect(sealAgain(line, encodeSol(decodeSol(open(line).payload)))).toBe(line);
  });

  it('002-2: characters both ways, in order, each acknowledged by the other side', () => {
    const packets = SOL_PACKETS.map((line) => ({ ...decodeSol(open(line).payload), fromConsole: open(line).fromConsole }));
    const said = (console: boolean): string =>
      packets
        .filter(({ fromConsole }) => fromConsole === console)
        .map(({ data }) => Buffer.from(data).toString('latin1'))
        .join('');
    expect(said(true)).toBe('ls~B\r');
    expect(said(false)).toBe('login: LS~B\r');
    for (const { sequence, data, fromConsole } of packets.filter((packet) => packet.sequence !== 0))
      expect(
        packets.some((other) => other.fromConsole !== fromConsole && other.ack === sequence && other.accepted === data.length),
        `${sequence}`,
      ).toBe(true);
  });

  it('002-2: Activate Payload and its answer', () => {
    const [request = '', response = ''] = SOL_ACTIVATION;
    expect([ipmiAgain(request), ipmiAgain(response)]).toEqual([request, response]);
    const asked = decodeRequest(open(request).payload);
    const ours = activateSol({ encrypted: true, authenticated: true });
    expect(asked).toMatchObject({ netFn: ours.netFn, command: ours.command });
    expect(Buffer.from(asked.data.subarray(0, 2))).toEqual(Buffer.from(ours.data.subarray(0, 2)));
    expect(ours.parse(Buffer.from(decodeResponse(open(response).payload).data))).toMatchObject({ inboundBytes: 200, outboundBytes: 200 });
  });
});

describe('sensor data records', () => {
  it('002-2: every request and answer is written the same', () => {
    expect(SDR_PACKETS.length).toBeGreaterThan(12);
    for (const line of SDR_PACKETS) expect(ipmiAgain(line)).toBe(line);
  });

  it('002-2: the pieces make up the records', () => {
    const records: Buffer[][] = [];
    for (const line of SDR_PACKETS) {
      const { payload, fromConsole } = open(line);
      const { netFn, command, data } = fromConsole ? decodeRequest(payload) : decodeResponse(payload);
      if (netFn !== 0x0a || command !== 0x23) continue;
      const offset = data[4];
      if (!fromConsole) records.at(-1)?.push(Buffer.from(data.subarray(2)));
      else if (offset === 0) records.push([]);
    }
    const decoded = records.flatMap((pieces) => [...decodeSdr(Buffer.concat(pieces))]);
    expect(decoded).toMatchObject([{ name: 'Inlet Temp' }, { name: 'CPU Temp' }]);
  });
});
