/** A user's disk image as the deployer sees it, whatever its format. */
import type { ImageFile } from './image-file.ts';

export type ImageFormat = 'raw' | 'qcow2';

/** A stretch of the virtual disk. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
  /** `zero` reads as zeros; `data` may hold anything. */
  readonly kind: 'data' | 'zero';
}

export interface DiskImage {
  readonly format: ImageFormat;
  /** The file as stored. */
  readonly file: ImageFile;
  /** Size of the disk that the image describes; a multiple of 512. */
  readonly virtualSizeBytes: number;
  /** The whole virtual disk in order, without gaps; neighbours differ in kind. */
  extents(): AsyncIterable<Extent>;
  /** Bytes of the virtual disk. `into`, when given, is filled and returned, and must be `length` long. */
  read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface Progress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** Joins neighbours of one kind. */
export async function* coalesced(extents: AsyncIterable<Extent>): AsyncGenerator<Extent> {
  let last: Extent | undefined;
  for await (const extent of extents) {
    if (last?.kind === extent.kind) last = { ...last, length: last.length + extent.length };
    else {
      if (last) yield last;
      last = extent;
    }
  }
  if (last) yield last;
}
