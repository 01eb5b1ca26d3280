/**
 * A machine of the lab: firmware, disks and a network card under QEMU's emulation, switched by whoever writes to its control file, which is what its BMC
 * does. It has no time limit and no idea of what it boots; everything that it says on its serial line is kept with the time.
 */
import type { ChildProcess } from 'node:child_process';
import { appendFileSync, copyFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { LabNetwork } from './namespace.ts';
import { CPU, OVMF } from './qemu.ts';

/** How soon a command of the BMC is carried out. */
const LOOK_MS = 20;

export interface LabDisk {
  /** Raw image file. */
  readonly file: string;
  readonly serial: string;
  /** Sixteen hexadecimal digits; such a disk hangs on a SCSI controller, since virtio's own have none. */
  readonly wwn?: string;
  /** What the firmware starts from when there are several. */
  readonly first?: boolean;
}

export interface LabMachineOptions {
  readonly network: LabNetwork;
  readonly name: string;
  readonly mac: string;
  readonly firmware: 'bios' | 'uefi';
  readonly disks: readonly LabDisk[];
  /** Of this machine alone: its control file, its power state, its firmware's variables. */
  readonly folder: string;
  readonly memoryMib?: number;
  /** A second card, whose cable is not plugged in. */
  readonly looseCard?: string;
  readonly onEvent: (what: string) => void;
}

export class LabMachine {
  /** The BMC appends lines to it: `on`, `off`, `reset`, `boot pxe|disk|none`. */
  readonly control: string;
  /** `1` or `0`, for the BMC to read. */
  readonly power: string;
  private readonly variables: string;
  private readonly monitorSocket: string;
  private process: ChildProcess | undefined;
  private tap: string | undefined;
  private text = '';
  private readAt = 0;
  private device = 'none';
  private readonly timer: NodeJS.Timeout;
  /** Commands are carried out one after the other. */
  private queue: Promise<void> = Promise.resolve();
  private readonly watchers = new Set<() => void>();

  constructor(private readonly options: LabMachineOptions) {
    this.control = join(options.folder, 'control');
    this.power = join(options.folder, 'power');
    this.variables = join(options.folder, 'variables.fd');
    this.monitorSocket = join(options.folder, 'monitor');
    writeFileSync(this.control, '');
    writeFileSync(this.power, '0\n');
    if (options.firmware === 'uefi') copyFileSync(OVMF.vars, this.variables);
    this.timer = setInterval(() => this.look(), LOOK_MS);
  }

  get running(): boolean {
    return this.process !== undefined;
  }

  /** Everything that it has said, control characters of firmware menus removed. */
  get console(): string {
    return this.text;
  }

  /** Resolves with the match; with undefined when the signal aborts first. `from`: only what comes after so many characters. */
  until(pattern: RegExp, signal: AbortSignal, from = 0): Promise<RegExpExecArray | undefined> {
    return new Promise((resolve) => {
      const look = (): void => {
        const match = pattern.exec(this.text.slice(from)) ?? undefined;
        if (!match && !signal.aborted) return;
        this.watchers.delete(look);
        signal.removeEventListener('abort', look);
        resolve(match);
      };
      this.watchers.add(look);
      signal.addEventListener('abort', look);
      look();
    });
  }

  /** As if its BMC had written them. */
  obeyed(...commands: readonly string[]): void {
    appendFileSync(this.control, commands.map((one) => `${one}\n`).join(''));
  }

  /** A command of QEMU's monitor. */
  monitor(command: string): void {
    const connection = connect(this.monitorSocket, () => connection.end(`${command}\n`));
    connection.on('error', (error) => this.options.onEvent(`the monitor failed: ${error.message}`));
    connection.resume();
  }

  /** As a power cut does it: not by the BMC. */
  async cut(): Promise<void> {
    await this.enqueue(() => this.off('power cut'));
  }

  async close(): Promise<void> {
    clearInterval(this.timer);
    await this.enqueue(() => this.off('end'));
  }

  private look(): void {
    if (statSync(this.control).size <= this.readAt) return;
    const text = readFileSync(this.control, 'utf8').slice(this.readAt);
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    this.readAt += whole.length;
    for (const line of whole.split('\n').filter((one) => one !== '')) void this.enqueue(() => this.obey(line));
  }

  private enqueue(work: () => Promise<void>): Promise<void> {
    this.queue = this.queue.then(work).catch((error: unknown) => this.options.onEvent(`the machine failed: ${String(error)}`));
    return this.queue;
  }

  private async obey(line: string): Promise<void> {
    const [verb, argument = 'none'] = line.split(' ');
    if (verb === 'boot') this.device = argument;
    if (verb === 'off') await this.off('power off');
    if (verb === 'reset') {
      await this.off('reset');
      await this.on();
    }
    if (verb === 'on') await this.on();
  }

  private async on(): Promise<void> {
    if (this.process) return;
    this.tap ??= await this.options.network.tap();
    this.options.onEvent(`power on${this.device === 'none' ? '' : `, first from ${this.device}`}`);
    const child = this.options.network.namespace.spawn(this.argv(this.tap));
    this.process = child;
    writeFileSync(this.power, '1\n');
    const hear = (chunk: Buffer): void => {
      this.text += chunk.toString('latin1').replaceAll(ESCAPES, '');
      for (const watch of [...this.watchers]) watch();
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    child.once('exit', () => {
      if (this.process !== child) return;
      this.process = undefined;
      writeFileSync(this.power, '0\n');
      this.options.onEvent('switched itself off');
    });
  }

  private async off(why: string): Promise<void> {
    const child = this.process;
    this.process = undefined;
    writeFileSync(this.power, '0\n');
    if (!child) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL'); // a plug that is pulled
    await exited;
    this.options.onEvent(why);
  }

  private argv(tap: string): string[] {
    const { firmware, disks, mac, memoryMib = 512, looseCard } = this.options;
    const uefi = firmware === 'uefi';
    // The override counts for the first start; a restart from inside keeps the order, as the BMC sets the network once more before it.
    const [networkAt, disksAt] = this.device === 'disk' ? [50, 1] : [1, 2];
    this.device = 'none';
    return [
      ...['qemu-system-x86_64', '-accel', 'tcg', '-machine', uefi ? 'q35' : 'pc', '-cpu', CPU, '-m', String(memoryMib)],
      ...['-nodefaults', '-display', 'none', '-serial', 'stdio', '-device', 'VGA', '-monitor', `unix:${this.monitorSocket},server,nowait`],
      ...(uefi
        ? [
            ...['-drive', `if=pflash,format=raw,unit=0,readonly=on,file=${OVMF.code}`],
            ...['-drive', `if=pflash,format=raw,unit=1,file=${this.variables}`],
            // EDK2 would ask for IPv6 first, for which nobody here has an answer
            ...['-fw_cfg', 'name=opt/org.tianocore/IPv6PXESupport,string=n'],
          ]
        : []),
      ...['-netdev', `tap,id=lan,ifname=${tap},script=no,downscript=no`],
      // without a ROM EDK2 uses its own PXE; SeaBIOS has none, so there it is QEMU's ROM, which is iPXE
      ...['-device', `virtio-net-pci,netdev=lan,mac=${mac},bootindex=${networkAt}${uefi ? ',romfile=' : ''}`],
      ...(looseCard === undefined
        ? []
        : ['-netdev', 'user,id=loose,restrict=on', '-device', `virtio-net-pci,netdev=loose,mac=${looseCard},romfile=`]),
      ...(disks.some(({ wwn }) => wwn !== undefined) ? ['-device', 'virtio-scsi-pci,id=scsi'] : []),
      ...disks.flatMap(({ file, serial, first, wwn }, index) => {
        const device = wwn === undefined ? 'virtio-blk-pci' : `scsi-hd,bus=scsi.0,wwn=0x${wwn}`;
        return [
          ...['-drive', `if=none,id=disk${index},format=raw,cache=unsafe,discard=unmap,file=${file}`],
          ...['-device', `${device},drive=disk${index},serial=${serial},bootindex=${disksAt + (first ? 0 : index + 1)}`],
        ];
      }),
      ...['-device', 'virtio-rng-pci'], // a kernel that waits for randomness waits for minutes here
    ];
  }
}

/** Cursor movements and colours. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is to be removed
const ESCAPES = /\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()c][A-Z0-9]?|\x00/g;
