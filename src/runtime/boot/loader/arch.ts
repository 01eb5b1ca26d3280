/** Which loader each kind of firmware is given: DHCP option 93 (RFC 4578 section 2.1 and IANA's "Processor Architecture Types"). */
import type { LoaderFormat } from './menu.ts';

export interface LoaderChoice {
  readonly arch: number;
  readonly name: string;
  readonly firmware: 'bios' | 'uefi';
  readonly cpu: 'x86' | 'x86_64' | 'arm' | 'arm64' | 'riscv32' | 'riscv64' | 'loongarch64';
  /** Below the boot root. */
  readonly file: string;
  /** The configuration that this loader asks for. */
  readonly format: LoaderFormat;
}

export const LOADERS: readonly LoaderChoice[] = [
  { arch: 0, name: 'x86 BIOS', firmware: 'bios', cpu: 'x86_64', file: 'pxelinux.0', format: 'pxelinux' },
  { arch: 6, name: 'x86 UEFI', firmware: 'uefi', cpu: 'x86', file: 'bootia32.efi', format: 'grub' },
  { arch: 7, name: 'x64 UEFI', firmware: 'uefi', cpu: 'x86_64', file: 'bootx64.efi', format: 'grub' },
  // 9 is EFI byte code by the book; firmware built from an early draft says 9 and means x64
  { arch: 9, name: 'x64 UEFI (EBC)', firmware: 'uefi', cpu: 'x86_64', file: 'bootx64.efi', format: 'grub' },
  { arch: 10, name: 'ARM 32-bit UEFI', firmware: 'uefi', cpu: 'arm', file: 'bootarm.efi', format: 'grub' },
  { arch: 11, name: 'ARM 64-bit UEFI', firmware: 'uefi', cpu: 'arm64', file: 'bootaa64.efi', format: 'grub' },
  { arch: 15, name: 'x86 UEFI HTTP', firmware: 'uefi', cpu: 'x86', file: 'bootia32.efi', format: 'grub' },
  { arch: 16, name: 'x64 UEFI HTTP', firmware: 'uefi', cpu: 'x86_64', file: 'bootx64.efi', format: 'grub' },
  { arch: 18, name: 'ARM 32-bit UEFI HTTP', firmware: 'uefi', cpu: 'arm', file: 'bootarm.efi', format: 'grub' },
  { arch: 19, name: 'ARM 64-bit UEFI HTTP', firmware: 'uefi', cpu: 'arm64', file: 'bootaa64.efi', format: 'grub' },
  { arch: 25, name: 'RISC-V 32-bit UEFI', firmware: 'uefi', cpu: 'riscv32', file: 'bootriscv32.efi', format: 'grub' },
  { arch: 26, name: 'RISC-V 32-bit UEFI HTTP', firmware: 'uefi', cpu: 'riscv32', file: 'bootriscv32.efi', format: 'grub' },
  { arch: 27, name: 'RISC-V 64-bit UEFI', firmware: 'uefi', cpu: 'riscv64', file: 'bootriscv64.efi', format: 'grub' },
  { arch: 28, name: 'RISC-V 64-bit UEFI HTTP', firmware: 'uefi', cpu: 'riscv64', file: 'bootriscv64.efi', format: 'grub' },
  { arch: 39, name: 'LoongArch 64-bit UEFI', firmware: 'uefi', cpu: 'loongarch64', file: 'bootloongarch64.efi', format: 'grub' },
  { arch: 40, name: 'LoongArch 64-bit UEFI HTTP', firmware: 'uefi', cpu: 'loongarch64', file: 'bootloongarch64.efi', format: 'grub' },
];

export function loaderFor(arch: number): LoaderChoice | undefined {
  return LOADERS.find((loader) => loader.arch === arch);
}
