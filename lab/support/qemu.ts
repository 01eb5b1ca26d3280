/**
 * Guests under QEMU's software emulation: real firmware, real loaders, real kernels, without /dev/kvm. A guest's serial line is what the lab reads.
 */
import type { ChildProcess } from 'node:child_process';
import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import type { LabNetwork } from './namespace.ts';

/** Debian's 6.1 kernels copy strings wrongly under QEMU 7.2 when cx16 is taken away; 6.12 ones die unless it is. */
export const CPU = process.env.LAB_CPU ?? 'max';
export const OVMF = { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', vars: '/usr/share/OVMF/OVMF_VARS_4M.fd' };

export type Firmware =
  /** SeaBIOS with QEMU's network ROM, which is iPXE. */
  | { readonly kind: 'bios' }
  /** EDK2. Its own PXE and HTTP boot, unless `rom`: then QEMU's EFI ROM, which is iPXE too. */
  | { readonly kind: 'uefi'; readonly rom?: boolean; readonly pxe?: boolean };

export interface GuestOptions {
  readonly network: LabNetwork;
  readonly mac: string;
  readonly firmware: Firmware;
  /** Where files of this guest alone may lie (EDK2's variables). */
  readonly folder: string;
  readonly memoryMib?: number;
  /** SMBIOS UUID. */
  readonly uuid?: string;
  /** Raw image files, attached by virtio. */
  readonly disks?: readonly string[];
  /** Boot order after the network: `n` network, `c` disk. @default n */
  readonly boot?: string;
  readonly more?: readonly string[];
  /** Each line of the serial port. */
  readonly onLine?: (line: string) => void;
}

/** Why no guest can be started here, as a sentence; undefined when nothing is missing. */
export function missingForGuests(firmware: Firmware): string | undefined {
  if (firmware.kind === 'uefi' && !existsSync(OVMF.code)) return `${OVMF.code} is missing (Debian package ovmf)`;
  if (firmware.kind === 'bios' && !existsSync('/usr/lib/ipxe/qemu')) return '/usr/lib/ipxe/qemu is missing (Debian package ipxe-qemu)';
  return undefined;
}

export class Guest {
  private text = '';
  private readonly exited: Promise<void>;
  private readonly watchers = new Set<() => void>();
  private ended = false;

  private constructor(
    private readonly process: ChildProcess,
    private readonly onLine: ((line: string) => void) | undefined,
  ) {
    let rest = '';
    const hear = (chunk: Buffer): void => {
      const text = chunk.toString('latin1').replaceAll(ESCAPES, '');
      this.text += text;
      const lines = (rest + text).split(/\r?\n|\r/);
      rest = lines.pop() ?? '';
      for (const line of lines) if (line.trim() !== '') this.onLine?.(line);
      for (const watch of [...this.watchers]) watch();
    };
    process.stdout?.on('data', hear);
    process.stderr?.on('data', hear);
    this.exited = new Promise((resolve) =>
      process.once('exit', () => {
        this.ended = true;
        for (const watch of [...this.watchers]) watch();
        resolve();
      }),
    );
  }

  static async start(options: GuestOptions): Promise<Guest> {
    const { network, mac, firmware, folder, memoryMib = 512, uuid, disks = [], boot = 'n', more = [] } = options;
    const tap = await network.tap();
    const uefi = firmware.kind === 'uefi';
    const vars = join(folder, `vars-${mac.replaceAll(':', '')}.fd`);
    if (uefi) copyFileSync(OVMF.vars, vars); // fresh: EDK2 remembers boot entries
    const argv = [
      ...[
        'qemu-system-x86_64',
        '-accel',
        'tcg',
        '-machine',
        uefi ? 'q35' : 'pc',
        '-cpu',
        CPU,
        '-m',
        String(memoryMib),
        '-nodefaults',
        '-no-reboot',
      ],
      ...['-display', 'none', '-serial', 'stdio', '-boot', `order=${boot}`],
      ...(uuid === undefined ? [] : ['-uuid', uuid]),
      ...(uefi
        ? [
            ...[
              '-drive',
              `if=pflash,format=raw,unit=0,readonly=on,file=${OVMF.code}`,
              '-drive',
              `if=pflash,format=raw,unit=1,file=${vars}`,
            ],
            // EDK2 would ask for IPv6 first, for which nobody here has an answer
            ...['-fw_cfg', 'name=opt/org.tianocore/IPv6PXESupport,string=n'],
            ...(firmware.pxe === false ? ['-fw_cfg', 'name=opt/org.tianocore/IPv4PXESupport,string=n'] : []),
          ]
        : []),
      ...['-netdev', `tap,id=lan,ifname=${tap},script=no,downscript=no`],
      ...['-device', `virtio-net-pci,netdev=lan,mac=${mac}${uefi && !firmware.rom ? ',romfile=' : ''}`],
      ...disks.flatMap((file, index) => [
        ...['-drive', `if=none,id=disk${index},format=raw,file=${file}`, '-device', `virtio-blk-pci,drive=disk${index},serial=LAB${index}`],
      ]),
      // entropy: a kernel that waits for randomness waits for minutes here
      ...['-device', 'virtio-rng-pci'],
      ...more,
    ];
    return new Guest(network.namespace.spawn(argv), options.onLine);
  }

  /** Everything that came over the serial line. */
  get console(): string {
    return this.text;
  }

  /** Resolves with the match; with undefined when the guest ends, or the signal aborts, before it came. */
  until(pattern: RegExp, signal: AbortSignal): Promise<RegExpExecArray | undefined> {
    return new Promise((resolve) => {
      const look = (): void => {
        const match = pattern.exec(this.text) ?? undefined;
        if (!match && !this.ended && !signal.aborted) return;
        this.watchers.delete(look);
        signal.removeEventListener('abort', look);
        resolve(match);
      };
      this.watchers.add(look);
      signal.addEventListener('abort', look);
      look();
    });
  }

  /** Pulls the plug. */
  async stop(): Promise<void> {
    if (!this.ended) this.process.kill('SIGKILL');
    await this.exited;
  }
}

/** Cursor movements and colours of firmware menus. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is to be removed
const ESCAPES = /\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()][A-Z0-9]|\x00/g;
