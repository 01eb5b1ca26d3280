/**
 * Zeros on a disk, by the first of these that it has:
 *
 *   WRITE SAME(16), with UNMAP where unmapped blocks read as zeros: always zeros afterwards
 *   UNMAP and a look: a disk may leave any block as it is (SBC-4 section 4.7.3.4), the edges of its granules at least; those are written
 *   writing them
 */
import type { Logger } from 'cdk8s-baremetal-runtime/core/index';
import type { DiskIdentity } from './disk-identity.ts';
import { unmap, writeSame16 } from './scsi.ts';
import { isIllegalRequest } from './sense.ts';
import type { ScsiCommand } from './tasks.ts';

export interface ZeroingDisk {
  readonly identity: DiskIdentity;
  /** Of one read or write. */
  readonly commandBytes: number;
  readonly logger: Logger;
  /** Runs a command that moves all of its data. */
  run(command: Omit<ScsiCommand, 'lun'>): Promise<void>;
  /** One command each. */
  read(offset: number, into: Uint8Array): Promise<void>;
  write(offset: number, data: Uint8Array): Promise<void>;
}

/** A disk that really writes the zeros does 50 MB/s at worst: this is far inside the limit of two minutes. */
const LARGEST_BYTES = 64 * 1024 * 1024;
const TIMEOUT_MS = 120_000;

export class Zeroing {
  /** Of one call of `zero`, at most. */
  readonly pieceBytes: number;
  private canWriteSame = true;
  private canUnmap: boolean;
  /** To be written, by any number of commands at once; on most disks by none. */
  private zeros: Buffer | undefined;

  constructor(private readonly disk: ZeroingDisk) {
    const { blockBytes, limits, provisioning } = disk.identity;
    const limit = limits.maxWriteSameBlocks > 0 ? limits.maxWriteSameBlocks * blockBytes : LARGEST_BYTES;
    this.pieceBytes = Math.max(blockBytes, Math.floor(Math.min(limit, LARGEST_BYTES) / blockBytes) * blockBytes);
    this.canUnmap = provisioning.unmap && provisioning.unmappedReadZero;
  }

  /** One command after the other: the place in the queue is the caller's. */
  async zero(offset: number, bytes: number): Promise<void> {
    if (this.canWriteSame) {
      if (await this.understood('WRITE SAME(16)', () => this.writeSame(offset, bytes))) return;
      this.canWriteSame = false;
    }
    const unmapped = this.canUnmap && (await this.understood('UNMAP', () => this.unmap(offset, bytes)));
    if (!unmapped) this.canUnmap = false;
    this.zeros ??= Buffer.alloc(this.disk.commandBytes);
    const found = Buffer.allocUnsafe(unmapped ? Math.min(this.zeros.length, bytes) : 0);
    for (let done = 0; done < bytes; done += this.zeros.length) {
      const due = this.zeros.subarray(0, Math.min(this.zeros.length, bytes - done));
      if (unmapped) {
        const there = found.subarray(0, due.length);
        await this.disk.read(offset + done, there);
        if (there.equals(due)) continue;
      }
      await this.disk.write(offset + done, due);
    }
  }

  private async writeSame(offset: number, bytes: number): Promise<void> {
    const { blockBytes, provisioning } = this.disk.identity;
    const unmapping = provisioning.writeSameUnmap && provisioning.unmappedReadZero;
    const named = writeSame16(offset / blockBytes, bytes / blockBytes, unmapping);
    await this.disk.run({ ...named, dataOut: Buffer.alloc(blockBytes), timeoutMs: TIMEOUT_MS });
  }

  private async unmap(offset: number, bytes: number): Promise<void> {
    const { blockBytes, limits } = this.disk.identity;
    const step = limits.maxUnmapBlocks > 0 ? limits.maxUnmapBlocks * blockBytes : this.pieceBytes;
    for (let done = 0; done < bytes; done += step) {
      const { parameters, ...named } = unmap([{ lba: (offset + done) / blockBytes, blocks: Math.min(step, bytes - done) / blockBytes }]);
      await this.disk.run({ ...named, dataOut: parameters, timeoutMs: TIMEOUT_MS });
    }
  }

  /** One try is enough to know that the disk has no such command. */
  private async understood(command: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (!isIllegalRequest(error)) throw error;
      this.disk.logger.debug({ command }, 'the disk does not have this command: zeros are made in another way');
      return false;
    }
  }
}
