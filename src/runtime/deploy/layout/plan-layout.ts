/**
 * Where the partitions of a partition image lie, in blocks: pure. The original's order: root, swap; or ephemeral, swap, root, so that a rebuild
 * with another root size can leave the ephemeral one where it is. All on MiB boundaries; the first and the last MiB stay free for tables.
 */
import { layoutErrors } from './errors.ts';

export type PartitionRole = 'root' | 'swap' | 'ephemeral' | 'config';

export interface Partition {
  readonly role: PartitionRole;
  readonly firstBlock: number;
  readonly blocks: number;
}

export interface Layout {
  readonly table: 'mbr' | 'gpt';
  readonly blockBytes: number;
  readonly diskBlocks: number;
  /** Numbered from 1 in this order. */
  readonly partitions: readonly Partition[];
}

export interface LayoutRequest {
  readonly blockBytes: number;
  readonly diskBytes: number;
  readonly imageBytes: number;
  /** 0: what the others leave. */
  readonly rootMb: number;
  readonly swapMb: number;
  readonly ephemeralMb: number;
  /** Of the config drive, which comes last; 0 for none. */
  readonly configMb?: number;
  /** Default: MBR, as the original, where it reaches the end of the disk. */
  readonly table?: 'mbr' | 'gpt';
}

export const MIB = 1024 * 1024;
/** MBR counts blocks with 32 bits. */
const MBR_LIMIT_BLOCKS = 2 ** 32;

export function planLayout(request: LayoutRequest): Layout {
  const { blockBytes, diskBytes, imageBytes, swapMb, ephemeralMb, configMb = 0 } = request;
  const diskMb = Math.floor(diskBytes / MIB);
  const usableMb = diskMb - 2;
  const rootMb =
    request.rootMb > 0 ? Math.max(request.rootMb, Math.ceil(imageBytes / MIB)) : Math.max(0, usableMb - swapMb - ephemeralMb - configMb);
  const neededMb = rootMb + swapMb + ephemeralMb + configMb + 2;
  if (neededMb > diskMb) throw layoutErrors.LAYOUT_DISK_TOO_SMALL({ neededMb, diskMb });
  if (rootMb * MIB < imageBytes) throw layoutErrors.LAYOUT_ROOT_TOO_SMALL({ imageBytes, rootBytes: rootMb * MIB });
  const order: readonly (readonly [PartitionRole, number])[] =
    ephemeralMb > 0
      ? [
          ['ephemeral', ephemeralMb],
          ['swap', swapMb],
          ['root', rootMb],
        ]
      : [
          ['root', rootMb],
          ['swap', swapMb],
        ];
  let atMb = 1;
  const config: readonly (readonly [PartitionRole, number])[] = configMb > 0 ? [['config', configMb]] : [];
  const partitions = [...order, ...config].map(([role, sizeMb]) => {
    const partition = { role, firstBlock: (atMb * MIB) / blockBytes, blocks: (sizeMb * MIB) / blockBytes };
    atMb += sizeMb;
    return partition;
  });
  const diskBlocks = Math.floor(diskBytes / blockBytes);
  return { table: request.table ?? (diskBlocks > MBR_LIMIT_BLOCKS ? 'gpt' : 'mbr'), blockBytes, diskBlocks, partitions };
}
