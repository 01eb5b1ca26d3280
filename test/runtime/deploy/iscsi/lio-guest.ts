/** LIO, the Linux kernel's iSCSI target, in a guest under QEMU's emulation: the deploy ramdisk's kernel with an init of its own. Needs no root. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuiltRamdisk, buildRamdisk } from '../../../../images/ramdisk/build.ts';
import { freePort } from '../../../support/free-port.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const PACKAGES = join(HERE, '../../../../lib/cache/debian');
const DISKS = ['thin', 'thick', 'mutual'] as const;

export class LioGuest {
  private process: ChildProcess | undefined;
  /** Everything that came over the serial line of the present start. */
  console = '';

  private constructor(
    readonly port: number,
    private readonly folder: string,
    private readonly ramdisk: BuiltRamdisk,
  ) {}

  /** Builds the ramdisk from Debian's packages, which are fetched at the first time. Targets: `iqn.2026-11.io.bms:` and thin, thick, mutual. */
  static async create(folder: string, diskBytes: number): Promise<LioGuest> {
    const out = join(folder, 'ramdisk');
    mkdirSync(out, { recursive: true });
    const ramdisk = await buildRamdisk({ profile: 'cloud', arch: 'amd64', out, cache: PACKAGES, init: join(HERE, 'lio-init') });
    const guest = new LioGuest(await freePort(), folder, ramdisk);
    for (const name of DISKS) {
      writeFileSync(guest.diskPath(name), '');
      truncateSync(guest.diskPath(name), diskBytes);
    }
    return guest;
  }

  /** The file behind the disk. */
  diskPath(name: (typeof DISKS)[number]): string {
    return join(this.folder, `${name}.disk`);
  }

  /** Resolves when the targets are there. */
  async start(): Promise<void> {
    this.console = '';
    const child = spawn(
      'qemu-system-x86_64',
      [
        ...['-accel', 'tcg', '-cpu', process.env.LAB_CPU ?? 'max', '-m', '256', '-nodefaults', '-no-reboot', '-display', 'none'],
        ...['-kernel', this.ramdisk.kernel.path, '-initrd', this.ramdisk.ramdisk.path],
        ...['-append', 'console=ttyS0 loglevel=4 panic=-1', '-serial', 'stdio'],
        ...[
          '-netdev',
          `user,id=lan,restrict=on,hostfwd=tcp:127.0.0.1:${this.port}-10.0.2.15:3260`,
          '-device',
          'virtio-net-pci,netdev=lan,romfile=',
        ],
        // what the guest was told to be written is in the file at once, as a disk would have it when its power is cut
        ...DISKS.flatMap((name) => [
          ...['-drive', `if=none,id=${name},format=raw,cache=writethrough,discard=unmap,file=${this.diskPath(name)}`],
          ...['-device', `virtio-blk-pci,drive=${name}`],
        ]),
        ...['-device', 'virtio-rng-pci'],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.process = child;
    await new Promise<void>((resolve, reject) => {
      const hear = (chunk: Buffer): void => {
        this.console += chunk.toString('latin1');
        if (this.console.includes('LIO IS READY')) resolve();
      };
      child.stdout.on('data', hear);
      child.stderr.on('data', hear);
      child.once('error', reject);
      child.once('exit', () => reject(new Error(`the guest has ended: ${this.console.slice(-2000)}`)));
    });
  }

  /** Pulls the plug. */
  async cut(): Promise<void> {
    const { process: child } = this;
    this.process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}
