/** Images for the tests: made by qemu-img where the test is about its files, and by hand where no honest tool would make them. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { type DiskImage, type OpenImageOptions, openImage } from '../../../../src/runtime/deploy/image/index.ts';

export const hasQemuImg = ((): boolean => {
  try {
    execFileSync('qemu-img', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    console.warn('skipped: qemu-img is missing (Debian package qemu-utils)');
    return false;
  }
})();

export function qemuImg(...args: string[]): void {
  execFileSync('qemu-img', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** A folder that lives as long as the test file. */
export function scratch(): { path(name: string): string; file(name: string, content: Uint8Array): string } {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'image-test-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const path = (name: string): string => join(folder, name);
  return {
    path,
    file(name, content) {
      writeFileSync(path(name), content);
      return path(name);
    },
  };
}

export async function withImage<T>(options: OpenImageOptions, work: (image: DiskImage) => Promise<T>): Promise<T> {
  const image = await openImage(options);
  try {
    return await work(image);
  } finally {
    await image.close();
  }
}

/** The virtual disk put together from extents, with everything checked that they promise. */
export async function reassemble(image: DiskImage): Promise<Buffer> {
  const disk = Buffer.alloc(image.virtualSizeBytes, 0);
  let at = 0;
  let lastKind: string | undefined;
  for await (const { offset, length, kind } of image.extents()) {
    if (offset !== at) throw new Error(`a gap: ${at} to ${offset}`);
    if (length <= 0) throw new Error(`an empty extent at ${offset}`);
    if (kind === lastKind) throw new Error(`two ${kind} extents meet at ${offset}`);
    if (kind === 'data') disk.set(await image.read(offset, length), offset);
    at += length;
    lastKind = kind;
  }
  if (at !== image.virtualSizeBytes) throw new Error(`the extents end at ${at} of ${image.virtualSizeBytes}`);
  return disk;
}

/** Text, random bytes and zeros, so that every kind of cluster comes up. */
export function diskContent(sizeBytes: number, seed = 1): Buffer {
  const disk = Buffer.alloc(sizeBytes);
  let state = seed;
  const next = (): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state;
  };
  for (let at = 0; at < sizeBytes; at += 32 * 1024) {
    const part = disk.subarray(at, at + 32 * 1024);
    const kind = (next() >>> 16) % 4;
    if (kind === 1) part.fill(`the quick brown fox at ${at} `);
    if (kind === 2) for (let i = 0; i < part.length; i++) part[i] = next() >>> 16;
    if (kind === 3) part.fill(0x55, part.length / 2);
  }
  return disk;
}

export interface HandMade {
  readonly clusterBits?: number;
  readonly virtualSize?: bigint;
  readonly version?: number;
  readonly l1?: readonly bigint[];
  readonly l2?: readonly bigint[];
  readonly header?: (view: DataView) => void;
  /** Clusters after header (0), L1 (1) and L2 (2). */
  readonly dataClusters?: number;
}

/** A small qcow2 file: header in cluster 0, L1 in 1, L2 in 2, data from 3 on, each data cluster filled with its number. */
export function handMade(options: HandMade = {}): Uint8Array {
  const { clusterBits = 9, version = 3, dataClusters = 4 } = options;
  const clusterBytes = 2 ** clusterBits;
  const at = (cluster: number): bigint => BigInt(cluster * clusterBytes);
  const file = new Uint8Array(clusterBytes * (3 + dataClusters));
  for (let i = 3; i < 3 + dataClusters; i++) file.fill(i, i * clusterBytes, (i + 1) * clusterBytes);
  const l1 = options.l1 ?? [at(2) | (1n << 63n)];
  const l2 = options.l2 ?? [at(3) | (1n << 63n), at(4) | (1n << 63n), 1n, 0n, at(5) | (1n << 63n)];
  const view = new DataView(file.buffer);
  view.setUint32(0, 0x514649fb);
  view.setUint32(4, version);
  view.setUint32(20, clusterBits);
  view.setBigUint64(24, options.virtualSize ?? BigInt(5 * clusterBytes));
  view.setUint32(36, l1.length);
  view.setBigUint64(40, at(1));
  if (version >= 3) {
    view.setUint32(96, 4);
    view.setUint32(100, 104);
  }
  for (const [i, entry] of l1.entries()) if (i * 8 < clusterBytes) view.setBigUint64(clusterBytes + i * 8, entry);
  for (const [i, entry] of l2.entries()) view.setBigUint64(2 * clusterBytes + i * 8, entry);
  options.header?.(view);
  return file;
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
