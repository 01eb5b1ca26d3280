/** System boot options (IPMI v2.0 rev 1.1 Table 28-14): the boot flags and the parameters around them. */
import { ByteReader } from './bytes.ts';

export const BootParameter = {
  /** 0 complete, 1 in progress: keeps two consoles from mixing their settings. */
  setInProgress: 0,
  /** When the BMC forgets the boot flags by itself. */
  validBitClearing: 3,
  /** Who has acted on the options; the BMC's write sets "not yet" for the named parties. */
  infoAcknowledge: 4,
  bootFlags: 5,
} as const;

/**
 * Parameter 3, bit 3: keep the flags when no boot follows within 60 s. Without it the flags of a machine that takes longer to power on
 * (staggered start, a slow power-off before) are forgotten and it boots its disk.
 */
export const KEEP_ON_TIMEOUT = 0x08;

/** Parameter 4: write mask and data "BIOS has not handled this yet". */
export const ACKNOWLEDGE_BIOS = Uint8Array.of(0x01, 0x01);

/** Bits 5:2 of byte 2. */
export const BootSelector = { none: 0, pxe: 1, disk: 2, diskSafe: 3, diagnostic: 4, cdrom: 5, bios: 6, floppy: 15 } as const;
export type BootSelectorName = keyof typeof BootSelector;

export interface BootFlags {
  /** The firmware ignores flags without it. */
  readonly valid: boolean;
  readonly persistent: boolean;
  readonly efi: boolean;
  /** 0–15, see BootSelector. */
  readonly selector: number;
}

/*
 *  Table 28-14, parameter 5, boot flags
 *  +----------------------------+-----------------------------+----------+----------+-----------------+
 *  | 7: valid  6: persistent    | 7: clear CMOS 6: lock keys  | console, | mux,     | device instance |
 *  | 5: EFI                     | 5:2 device  1: blank  0:    | locks 1  | BIOS 1   | 1               |
 *  +----------------------------+-----------------------------+----------+----------+-----------------+
 */
export function encodeBootFlags(flags: BootFlags): Buffer {
  const first = (flags.valid ? 0x80 : 0) | (flags.persistent ? 0x40 : 0) | (flags.efi ? 0x20 : 0);
  return Buffer.from([first, (flags.selector & 0x0f) << 2, 0, 0, 0]);
}

export function decodeBootFlags(data: Uint8Array): BootFlags {
  const reader = new ByteReader(data, 'the boot flags');
  const first = reader.u8();
  const second = reader.u8();
  return { valid: (first & 0x80) !== 0, persistent: (first & 0x40) !== 0, efi: (first & 0x20) !== 0, selector: (second >> 2) & 0x0f };
}
