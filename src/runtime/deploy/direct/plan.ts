/**
 * What a ramdisk does to its disk, in order, as lines that a shell reads:
 *
 *   bms-direct-plan/1
 *   manifest SHA256             of the manifest's text, so that all replicas mean the same image
 *   verify N                    afterwards every Nth chunk is read back; 0: none
 *   zero OFFSET LENGTH          bytes, on whole sectors
 *   bytes OFFSET BASE64
 *   image OFFSET                the chunks of the manifest, from there on
 *
 * The order is that of the writer over iSCSI: old tables go first and the new one comes last, so that a disk whose writing was cut short has none.
 */
import { type Random, randomUuid } from '../../core/random.ts';
import { encodeGpt, GPT_TYPE } from '../layout/gpt.ts';
import { encodeMbr, MBR_TYPE } from '../layout/mbr.ts';
import { type Layout, MIB, type Partition, planLayout } from '../layout/plan-layout.ts';
import { encodeSwapHeader } from '../layout/swap-header.ts';

export type DirectStep =
  | { readonly kind: 'zero'; readonly offset: number; readonly length: number }
  | { readonly kind: 'bytes'; readonly offset: number; readonly data: Uint8Array }
  | { readonly kind: 'image'; readonly offset: number };

export interface PlanRequest {
  readonly diskBytes: number;
  readonly imageBytes: number;
  readonly partitions?: { readonly rootMb: number; readonly swapMb: number; readonly ephemeralMb: number };
  readonly random: Random;
}

/** The kernel speaks of sectors of 512 bytes whatever the disk has; tables are in the disk's own blocks, which only differ on 4Kn disks. */
const BLOCK_BYTES = 512;
const SWAP_LABEL = 'swap1';

/** Throws the LAYOUT_ errors. That a whole-disk image fits is the caller's to check. */
export function directSteps({ diskBytes, imageBytes, partitions, random }: PlanRequest): DirectStep[] {
  if (partitions === undefined) return [...(imageBytes < diskBytes ? [endOf(diskBytes, imageBytes)] : []), { kind: 'image', offset: 0 }];
  const layout = planLayout({ blockBytes: BLOCK_BYTES, diskBytes, imageBytes, ...partitions });
  const steps: DirectStep[] = [{ kind: 'zero', offset: 0, length: MIB }, endOf(diskBytes, 0)];
  for (const partition of layout.partitions) {
    const { offset, length } = placed(partition);
    if (partition.role === 'swap') {
      steps.push({ kind: 'zero', offset, length: Math.min(MIB, length) });
      const header = encodeSwapHeader({ partitionBytes: length, uuid: randomUuid(random), label: SWAP_LABEL });
      steps.push({ kind: 'bytes', offset, data: header });
    }
    // No old file system may show through where a new one is to be made.
    if (partition.role === 'ephemeral') {
      steps.push({ kind: 'zero', offset, length: Math.min(MIB, length) });
      if (length > MIB) steps.push({ kind: 'zero', offset: offset + length - MIB, length: MIB });
    }
  }
  for (const partition of layout.partitions) {
    if (partition.role === 'root') steps.push({ kind: 'image', offset: placed(partition).offset });
  }
  return [...steps, ...table(layout, random)];
}

export function encodePlan(steps: readonly DirectStep[], manifestSha256: string, verifyEvery: number): string {
  return ['bms-direct-plan/1', `manifest ${manifestSha256}`, `verify ${verifyEvery}`, ...steps.map(lineOf), ''].join('\n');
}

function lineOf(step: DirectStep): string {
  switch (step.kind) {
    case 'zero':
      return `zero ${step.offset} ${step.length}`;
    case 'bytes':
      return `bytes ${step.offset} ${Buffer.from(step.data).toString('base64')}`;
    case 'image':
      return `image ${step.offset}`;
  }
}

/** The last MiB, where an old table has its copy, as far as the image does not reach there. */
function endOf(diskBytes: number, imageBytes: number): DirectStep {
  const whole = diskBytes - (diskBytes % BLOCK_BYTES);
  const offset = Math.max(whole - MIB, Math.ceil(imageBytes / BLOCK_BYTES) * BLOCK_BYTES, 0);
  return { kind: 'zero', offset, length: whole - offset };
}

function placed({ firstBlock, blocks }: Partition): { offset: number; length: number } {
  return { offset: firstBlock * BLOCK_BYTES, length: blocks * BLOCK_BYTES };
}

function table(layout: Layout, random: Random): DirectStep[] {
  if (layout.table === 'gpt') {
    const entries = layout.partitions.map(({ role, firstBlock, blocks }) => ({
      type: role === 'swap' ? GPT_TYPE.swap : GPT_TYPE.linux,
      guid: randomUuid(random),
      firstBlock,
      blocks,
      name: role,
    }));
    const { primary, backup, backupOffset } = encodeGpt({ diskGuid: randomUuid(random), entries }, layout);
    return [
      { kind: 'bytes', offset: backupOffset, data: backup },
      { kind: 'bytes', offset: 0, data: primary },
    ];
  }
  const signature = random.bytes(4);
  const entries = layout.partitions.map(({ role, firstBlock, blocks }) => ({
    type: role === 'swap' ? MBR_TYPE.swap : MBR_TYPE.linux,
    firstBlock,
    blocks,
  }));
  const diskSignature = new DataView(signature.buffer, signature.byteOffset).getUint32(0);
  return [{ kind: 'bytes', offset: 0, data: encodeMbr({ diskSignature, entries }) }];
}
