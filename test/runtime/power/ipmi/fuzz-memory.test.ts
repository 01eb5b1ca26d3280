/**
 * Garbage leaves nothing behind. A management node hears its BMCs for months, and anybody on their network can send to its port: a decoder or a session that keeps a few
 * bytes of each packet ends the process some day. `npm run test:fuzz:power` runs eight million packets.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Endpoint, UdpHandlers, UdpSocket } from 'cdk8s-baremetal-runtime/core/index';
import { IpmiPower } from 'cdk8s-baremetal-runtime/power/index';
import { cipherSuite, decodePacket, openSealed } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { describe, expect, it } from 'vitest';
import { FUZZ_RUNS, makeLab } from '../support.ts';
import { onlyMalformed, PACKET_DECODERS, RECORD_DECODERS } from './decoders.ts';
import { SESSIONS } from './fixtures.ts';

const BATCHES = 8;
/** Ten times what compiled code and the test runner add. 32 bytes kept of each packet pass it in the short run already; in the long one they are 128 MB. */
const MOST_GROWTH_BYTES = 256 * 1024;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function usedBytes(): number {
  collect();
  collect(); // what the first one only made collectable: weak references and array buffers
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external; // `external` counts array buffers in
}

/** From the batches after the warm-up to the last ones. The least of two measures each: what else the runtime does only ever adds. */
function growth(batch: () => void): number {
  const measures = Array.from({ length: BATCHES }, () => {
    batch();
    return usedBytes();
  });
  return Math.min(...measures.slice(-2)) - Math.min(...measures.slice(2, 4));
}

/** xorshift32 (Marsaglia 2003): fast-check keeps what it makes, for shrinking. */
function garbage(seed: number, samples: readonly Uint8Array[]) {
  let state = seed;
  const below = (limit: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
  return (): Buffer => {
    const sample = below(2) === 0 ? samples[below(samples.length)] : undefined;
    if (!sample) return Buffer.from(Array.from({ length: below(120) }, () => below(256)));
    const packet = Buffer.from(sample.subarray(0, sample.length - (below(3) === 0 ? below(sample.length) : 0)));
    for (let edits = below(4); edits > 0 && packet.length > 0; edits--) packet[below(packet.length)] = below(256);
    return packet;
  };
}

describe('fuzz: what garbage leaves in memory', () => {
  it('002-2: decoders keep nothing of it', () => {
    const sealed = SESSIONS.map((session) => {
      const suite = cipherSuite(session.suite);
      if (!suite) throw new Error('unknown suite');
      const keys = { suite, k1: Buffer.from(session.k1, 'hex'), aesKey: Buffer.from(session.k2, 'hex').subarray(0, 16) };
      return (data: Uint8Array) => {
        const packet = decodePacket(data);
        return packet.kind === 'plus' && openSealed(packet, keys);
      };
    });
    const decoders = [...Object.values(PACKET_DECODERS), ...Object.values(RECORD_DECODERS), ...sealed];
    const samples = SESSIONS.flatMap((s) => [s.openResponse, s.rakp2, s.rakp4, s.sealedResponse]).map((hex) => Buffer.from(hex, 'hex'));
    const next = garbage(0x1b873593, samples);
    const grown = growth(() => {
      for (let run = 0; run < FUZZ_RUNS; run++) onlyMalformed(() => decoders[run % decoders.length]?.(next()));
    });
    expect(grown).toBeLessThan(MOST_GROWTH_BYTES);
  });

  it('002-2: a gateway with a session keeps nothing of it, wherever it comes from, and still hears its BMC', async () => {
    const lab = await makeLab();
    const open = lab.network.udp.bind(lab.network);
    let heard: (data: Uint8Array, from: Endpoint) => void = () => undefined;
    lab.network.udp = async (options: { address?: string; port?: number }, handlers: UdpHandlers) => {
      const socket: UdpSocket = await open(options, handlers);
      heard = (data, from) => handlers.onMessage(data, from, socket);
      return socket as Awaited<ReturnType<typeof open>>;
    };
    const power = new IpmiPower(lab.gateway, lab.access());
    expect(await lab.clock.until(power.status())).toBe('off');
    const answers = lab.network.log.filter(({ from }) => from.port === 623).map(({ data }) => data);
    const next = garbage(0x2545f491, answers);
    const bmc = { address: '10.0.0.20', port: 623 };
    let strangers = 0;
    const grown = growth(() => {
      for (let run = 0; run < FUZZ_RUNS; run++) {
        const stranger = { address: `10.${++strangers & 0xff}.${(strangers >> 8) & 0xff}.9`, port: 1024 + (strangers % 60_000) };
        heard(next(), run % 2 === 0 ? bmc : stranger);
      }
    });
    expect(grown).toBeLessThan(MOST_GROWTH_BYTES);
    expect(lab.gateway.stats()).toMatchObject({ lines: 1, sessions: 1 });
    expect(lab.gateway.stats().malformed).toBeGreaterThan(FUZZ_RUNS);
    expect(await lab.clock.until(power.status())).toBe('off');
    await lab.close();
  });
});
