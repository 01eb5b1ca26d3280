/**
 * A disk with a write cache that does not survive a power cut: what was written since the last flush is then lost, or kept, or torn, write by
 * write, as its seed says. Whoever counts on more than `flush` promises is found out.
 */
import { type Random, randomInt } from 'cdk8s-baremetal-runtime/core/random';
import type { BlockDevice } from './block-device.ts';
import { MemoryDisk, type MemoryDiskOptions } from './memory-disk.ts';

interface CachedWrite {
  readonly offset: number;
  readonly length: number;
  /** Absent: zeros. */
  readonly data?: Uint8Array;
}

export class VolatileDisk implements BlockDevice {
  readonly blockBytes: number;
  readonly sizeBytes: number;
  private cached: CachedWrite[] = [];
  private durable: MemoryDisk;
  private present: MemoryDisk;

  constructor(options: MemoryDiskOptions) {
    this.durable = new MemoryDisk(options);
    this.present = this.durable.clone();
    this.blockBytes = this.durable.blockBytes;
    this.sizeBytes = this.durable.sizeBytes;
  }

  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    return this.present.read(offset, length);
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    await this.present.write(offset, data);
    this.cached.push({ offset, length: data.length, data: data.slice() });
  }

  async zero(offset: number, length: number): Promise<void> {
    await this.present.zero(offset, length);
    this.cached.push({ offset, length });
  }

  async flush(): Promise<void> {
    this.durable = this.present.clone();
    this.cached = [];
  }

  /** Each cached write is lost, kept, or kept in its first blocks only. */
  async powerCut(random: Random): Promise<void> {
    this.present = this.durable.clone();
    const { cached, present, blockBytes } = this;
    this.cached = [];
    for (const { offset, length, data } of cached) {
      const fate = randomInt(random, 3);
      const kept = fate === 0 ? 0 : fate === 1 ? length : randomInt(random, length / blockBytes + 1) * blockBytes;
      if (kept > 0) await (data ? present.write(offset, data.subarray(0, kept)) : present.zero(offset, kept));
    }
    this.durable = present.clone();
  }
}
