/** Watches a disk: who wrote what, and when. For assertions such as "nobody wrote before the epoch was checked". */
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { BlockDevice } from './block-device.ts';

export interface DiskEvent {
  /** Simulated time. */
  readonly atMs: number;
  /** Who, e.g. an initiator's name and ISID. */
  readonly writer: string;
  readonly kind: 'write' | 'zero' | 'flush';
  readonly offset: number;
  readonly length: number;
}

export class DiskRecorder {
  readonly events: DiskEvent[] = [];

  constructor(
    private readonly disk: BlockDevice,
    private readonly clock: Clock,
  ) {}

  /** The same disk in the hands of `writer`; its changes are recorded when they have been made. */
  as(writer: string): BlockDevice {
    const { disk } = this;
    const record = (kind: DiskEvent['kind'], offset: number, length: number): void => {
      this.events.push({ atMs: this.clock.monotonic(), writer, kind, offset, length });
    };
    return {
      blockBytes: disk.blockBytes,
      sizeBytes: disk.sizeBytes,
      read: (offset, length) => disk.read(offset, length),
      async write(offset, data) {
        await disk.write(offset, data);
        record('write', offset, data.length);
      },
      async zero(offset, length) {
        await disk.zero(offset, length);
        record('zero', offset, length);
      },
      async flush() {
        await disk.flush();
        record('flush', 0, 0);
      },
    };
  }

  /** The changes that touch a byte of the range. */
  touching(offset: number, length: number): readonly DiskEvent[] {
    return this.events.filter((event) => event.kind !== 'flush' && event.offset < offset + length && offset < event.offset + event.length);
  }
}
