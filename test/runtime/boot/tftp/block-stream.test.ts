import { BlockStream } from 'cdk8s-baremetal-runtime/boot/tftp/block-stream';
import { bytesFile, tftpGet } from 'cdk8s-baremetal-runtime/boot/tftp/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { content, lab, SERVER } from './lab.ts';

const FILE = content(300_000);

interface Waiting {
  readonly block: number;
  readonly packet: Uint8Array;
}

/** Blocks whose packets hold other bytes than the file's. */
function spoiled(file: Uint8Array, blockBytes: number, waiting: readonly Waiting[]): number[] {
  const has = ({ block, packet }: Waiting): boolean =>
    Buffer.compare(packet.subarray(4), file.subarray((block - 1) * blockBytes, block * blockBytes)) === 0;
  return waiting.filter((one) => !has(one)).map(({ block }) => block);
}

describe('packets cut from slabs', () => {
  it('stay as they are until they are done with, whatever the block, the window and the order of confirmations', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 8, max: 65_464 }),
        fc.integer({ min: 1, max: 64 }),
        fc.array(fc.nat(64), { minLength: 1, maxLength: 20 }),
        fc.option(fc.nat(400), { nil: undefined }),
        (blockBytes, window, steps, repeatedAt) => {
          const file = FILE.subarray(0, Math.min(FILE.length, blockBytes * 300));
          const blocks = new BlockStream(bytesFile(file), blockBytes, 'octet');
          const waiting: Waiting[] = [];
          let done = 0;
          for (let block = 1; blocks.lastBlock === undefined; block++) {
            const known = repeatedAt === undefined || block < repeatedAt;
            const packet = blocks.next(known ? done : undefined);
            if (!packet) throw new Error('a file in memory needs no time');
            waiting.push({ block, packet });
            if (block % 16 === 0 || blocks.lastBlock !== undefined) expect(spoiled(file, blockBytes, waiting)).toEqual([]);
            const room = block - done >= window ? 1 + ((steps[block % steps.length] ?? 0) % window) : 0;
            done += room;
            if (known) while ((waiting[0]?.block ?? done + 1) <= done) waiting.shift();
          }
        },
      ),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 100) },
    );
  });

  /** Every packet of one transfer: what the network was given, and what was in it then. */
  async function transfer(drop: (index: number) => boolean) {
    const given: { readonly packet: Uint8Array; readonly asGiven: Buffer }[] = [];
    const site = await lab(
      { f: FILE },
      {
        faults: {
          drop: (packet) => {
            if (packet[1] !== 3) return false;
            given.push({ packet, asGiven: Buffer.from(packet) });
            return drop(given.length);
          },
        },
      },
    );
    const { wire: network, clock } = site;
    const download = await clock.settle(
      tftpGet({ network, clock, server: SERVER, path: 'f', localAddress: '10.0.0.9', blockBytes: 1428, windowBlocks: 16 }),
    );
    expect(Buffer.compare(download.data, FILE)).toBe(0);
    await clock.settle(site.server.close(0));
    return given;
  }

  it('a transfer without loss works with a few slabs', async () => {
    const given = await transfer(() => false);
    expect(given.length).toBe(Math.ceil(FILE.length / 1428));
    expect(new Set(given.map(({ packet }) => packet.buffer)).size).toBeLessThanOrEqual(3);
  });

  it('from the first repetition on nothing is written over', async () => {
    const given = await transfer((index) => index === 100);
    expect(given.length).toBeGreaterThan(Math.ceil(FILE.length / 1428));
    expect(given.slice(99).filter(({ packet, asGiven }) => !asGiven.equals(packet))).toEqual([]);
  });
});
