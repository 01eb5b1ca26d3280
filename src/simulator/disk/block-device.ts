/**
 * A disk as an iSCSI target, a simulated server's firmware and the tests see it. Offsets and lengths are bytes and whole
 * blocks; whatever reaches past the end or cuts a block is refused with DISK_RANGE, so that a target answers it with sense
 * data and never writes past its medium.
 */
export interface BlockDevice {
  /** Bytes of one logical block: 512 or 4096. */
  readonly blockBytes: number;
  /** Capacity; a whole number of blocks. */
  readonly sizeBytes: number;
  /** A fresh copy of the bytes; areas never written read as zeros. */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Copies `data`: the caller may reuse its buffer once the promise resolves. */
  write(offset: number, data: Uint8Array): Promise<void>;
  /** Writes zeros; frees storage where it can (UNMAP, WRITE SAME with zeros). */
  zero(offset: number, length: number): Promise<void>;
  /** Resolves when everything written so far survives a power cut (SYNCHRONIZE CACHE). */
  flush(): Promise<void>;
}
