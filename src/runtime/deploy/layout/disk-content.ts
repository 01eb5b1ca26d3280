/** What a disk holds, in words for a person who is asked whether it may be overwritten. */
import { decodeGpt } from './gpt.ts';
import { decodeMbr, MBR_TYPE } from './mbr.ts';
import { fileSystemOf } from './superblock.ts';

/** Beginnings that say what follows: what, where, the bytes in hex. */
const SIGNATURES: readonly (readonly [what: string, offset: number, hex: string])[] = [
  ['a LUKS container', 0, '4c554b53babe'],
  ['an LVM physical volume', 512, '4c4142454c4f4e45'], // LABELONE, in the second sector as LVM writes it
  ['a member of a RAID set', 4096, 'fc4e2ba9'], // md 1.2, little-endian
  ['swap space', 4086, '5357415053504143453'], // SWAPSPACE
  ['an NTFS file system', 3, '4e54465320202020'],
  ['a FAT file system', 82, '46415433322020'], // FAT32
  ['a FAT file system', 54, '46415431'], // FAT12, FAT16
  ['an ISO 9660 file system', 32_769, '4344303031'],
];

/** `start`: the first MiB, or all of a smaller disk. Undefined when it is empty. */
export function describeDisk(start: Uint8Array, { blockBytes }: { readonly blockBytes: number }): string | undefined {
  if (start.every((byte) => byte === 0)) return undefined;
  const gpt = decodeGpt(start, blockBytes);
  if (gpt) return `a GUID partition table with ${counted(gpt.entries.length)}`;
  const fileSystem = fileSystemOf(start);
  if (fileSystem) return `the ${fileSystem.type} file system ${fileSystem.label === undefined ? fileSystem.uuid : `"${fileSystem.label}"`}`;
  const known = SIGNATURES.find(([, offset, hex]) =>
    Buffer.from(start.subarray(offset, offset + Math.ceil(hex.length / 2)))
      .toString('hex')
      .startsWith(hex),
  );
  if (known) return known[0];
  const entries = decodeMbr(start)?.entries.filter((entry) => entry !== undefined) ?? [];
  if (entries.some(({ type }) => type === MBR_TYPE.protective)) return 'a damaged GUID partition table';
  if (entries.length > 0) return `a partition table with ${counted(entries.length)}`;
  return 'data of a kind that is not known here';
}

function counted(partitions: number): string {
  return partitions === 1 ? 'one partition' : `${partitions} partitions`;
}
