/**
 * A disk that BIOS and UEFI machines both boot, put together without mounts, loop devices or root: GUID partition table, GRUB's BIOS core in a
 * partition of its own, an EFI system partition, and the root file system, from which either GRUB reads its menu.
 */
import { encodeGpt, GPT_TYPE } from 'cdk8s-baremetal-runtime/deploy/layout/gpt';

const SECTOR = 512;
const MIB_SECTORS = 2048;

/** GUIDs of partition types beyond those that the deployer makes. */
const TYPE = {
  biosBoot: '21686148-6449-6e6f-744e-656564454649', // "Hah!IdontNeedEFI"
  efiSystem: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b',
} as const;

export interface GrubDisk {
  /** boot.img of GRUB's i386-pc: 512 bytes. Absent on machines without a BIOS (arm64). */
  readonly bios?: { readonly boot: Uint8Array; readonly core: Uint8Array };
  /** FAT file systems of whole MiB. */
  readonly efiSystem: Uint8Array;
  /** File system of whole MiB. */
  readonly root: Uint8Array;
  /** One for the disk and one for each partition. */
  readonly guids: { readonly disk: string; readonly bios: string; readonly efi: string; readonly root: string };
}

/** First MiB: the table; last: its copy. */
export function grubDisk({ bios, efiSystem, root, guids }: GrubDisk): Uint8Array {
  const parts = [
    ...(bios ? [{ type: TYPE.biosBoot, guid: guids.bios, name: 'bios', content: bios.core, blocks: MIB_SECTORS }] : []),
    { type: TYPE.efiSystem, guid: guids.efi, name: 'esp', content: efiSystem, blocks: sectors(efiSystem) },
    { type: GPT_TYPE.linux, guid: guids.root, name: 'root', content: root, blocks: sectors(root) },
  ];
  let at = MIB_SECTORS;
  const placed = parts.map((part) => {
    const entry = { ...part, firstBlock: at };
    at += Math.ceil(part.blocks / MIB_SECTORS) * MIB_SECTORS;
    return entry;
  });
  const diskBlocks = at + MIB_SECTORS;
  const disk = Buffer.alloc(diskBlocks * SECTOR);
  const { primary, backup, backupOffset } = encodeGpt({ diskGuid: guids.disk, entries: placed }, { blockBytes: SECTOR, diskBlocks });
  disk.set(primary, 0);
  disk.set(backup, backupOffset);
  for (const { content, firstBlock, blocks } of placed) {
    if (content.length > blocks * SECTOR) throw new Error(`${content.length} bytes do not fit into ${blocks} sectors`);
    disk.set(content, firstBlock * SECTOR);
  }
  const core = placed.find(({ type }) => type === TYPE.biosBoot);
  if (bios && core) {
    disk.set(linkedCore(bios.core, core.firstBlock), core.firstBlock * SECTOR);
    disk.set(bootSector(bios.boot, disk.subarray(0, SECTOR), core.firstBlock), 0);
  }
  return disk;
}

/**
 * GRUB's first sector (grub-core/boot/i386/pc/boot.S): code up to the disk signature at 0x1b8, which with the partition table stays the disk's own.
 *
 *   0x5c  8 bytes: sector of the core      0x66  a jump that keeps the boot drive which the BIOS names; two NOPs: it is checked, as on hard disks
 */
export function bootSector(boot: Uint8Array, present: Uint8Array, coreSector: number): Uint8Array {
  if (boot.length !== SECTOR) throw new Error(`boot.img has ${boot.length} bytes where ${SECTOR} are due`);
  const sector = Buffer.from(boot);
  sector.set(present.subarray(0x1b8, SECTOR), 0x1b8);
  sector.writeBigUInt64LE(BigInt(coreSector), 0x5c);
  sector.set([0x90, 0x90], 0x66);
  return sector;
}

/**
 * The core's first sector (diskboot.S) loads the rest by a list of ranges that ends at its last byte; grub-mkimage wrote one range of the right length.
 *
 *   0x1f4  8 bytes: first sector of the rest   0x1fc  2 bytes: sectors   0x1fe  2 bytes: segment to load them to
 */
export function linkedCore(core: Uint8Array, coreSector: number): Uint8Array {
  const linked = Buffer.alloc(Math.ceil(core.length / SECTOR) * SECTOR);
  linked.set(core);
  linked.writeBigUInt64LE(BigInt(coreSector + 1), 0x1f4);
  linked.writeUInt16LE(linked.length / SECTOR - 1, 0x1fc);
  return linked;
}

function sectors(content: Uint8Array): number {
  if (content.length % (MIB_SECTORS * SECTOR) !== 0) throw new Error(`a file system of ${content.length} bytes is not of whole MiB`);
  return content.length / SECTOR;
}
