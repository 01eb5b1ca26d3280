/**
 * A server without hardware: power, firmware that boots from the network or its disk, the loader, the deploy ramdisk, an
 * operating system that is up or not. It speaks the wire's protocols and believes nothing else.
 */
import { tftpGet } from 'cdk8s-baremetal-runtime/boot/tftp/index';
import { type Clock, type Logger, type Network, type Random, randomUuid, sleep } from 'cdk8s-baremetal-runtime/core/index';
import type { BootOverride, Chassis } from '../bmc/index.ts';
import type { BlockDevice } from '../disk/index.ts';
import { runDeployRamdisk, type SimulatedHardware } from './deploy-ramdisk.ts';
import { type BootLease, dhcpBoot } from './dhcp-client.ts';
import { Powered } from './powered.ts';
import { chooseLabel, configNames, type PxelinuxChoice } from './pxelinux.ts';
import type { ProvisioningWire } from './wire.ts';

export interface SimulatedServerOptions {
  readonly name: string;
  readonly mac: string;
  readonly disk: BlockDevice;
  /** As the disk reports it. */
  readonly diskSerial: string;
  /** What an inspection finds beside the card and the disk. */
  readonly hardware?: SimulatedHardware;
  /** Before the machine has an address. */
  readonly wire: ProvisioningWire;
  /** Once it has one. */
  readonly network: Network;
  /** Gives the card its address; nothing to do where every address is there already. */
  readonly configureAddress?: (address: string, netmask: string) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly ports?: { readonly tftp?: number; readonly deployHelper?: number; readonly iscsi?: number };
  /** From power to the first packet: memory test and option ROMs. Default 1,000; minutes on real machines. */
  readonly selfTestMs?: number;
  /** When no device boots, the firmware begins its boot order again after this, as servers do ("boot sequence retry"). Default: it stops. */
  readonly bootRetryMs?: number;
  readonly onEvent?: (event: ServerEvent) => void;
  /** The operating system asks for a restart; the BMC knows which device is next. Default: the firmware's own order. */
  readonly restart?: () => void;
}

export interface ServerEvent {
  readonly server: string;
  /** Clock milliseconds. */
  readonly at: number;
  readonly type: string;
  readonly detail?: string;
}

/** What the machine is doing, as somebody in front of it would see. */
export type ServerActivity =
  | 'off'
  | 'self-test'
  | 'network boot'
  | 'deploy ramdisk'
  | 'running from disk'
  | 'running from the network'
  | 'halted'
  | 'no bootable device';

const BIOS_ARCH = 0;
const SECTOR_BYTES = 512;
/** Large enough for any loader and configuration; what pxelinux and boot ROMs negotiate on Ethernet. */
const BLOCK_BYTES = 1408;
const WINDOW_BLOCKS = 8;

export class SimulatedServer implements Chassis {
  activity: ServerActivity = 'off';
  private readonly uuid: string;
  private running: { readonly controller: AbortController; readonly powered: Powered } | undefined;
  /** The last boot and what it started; the next one begins when every socket of it is closed. */
  private ended: Promise<void> = Promise.resolve();

  constructor(private readonly options: SimulatedServerOptions) {
    this.uuid = randomUuid(options.random);
  }

  get powered(): boolean {
    return this.running !== undefined;
  }

  powerOn(boot: BootOverride): void {
    if (this.running) return;
    const controller = new AbortController();
    const { signal } = controller;
    this.running = { controller, powered: new Powered(this.options) };
    this.activity = 'self-test';
    this.tell('power on', boot.device === 'none' ? undefined : `next device: ${boot.device}`);
    this.ended = this.ended
      .then(() => this.boot(boot, signal))
      .catch((error: unknown) => {
        if (signal.aborted) return;
        this.activity = 'no bootable device';
        this.tell('boot failed', messageOf(error));
      });
  }

  powerOff(): void {
    if (!this.running) return;
    this.end('the power is off');
    this.activity = 'off';
    this.tell('power off');
  }

  reset(boot: BootOverride): void {
    if (!this.running) return;
    this.end('the machine was reset');
    this.tell('reset');
    this.powerOn(boot);
  }

  /** Power off, and every socket closed. */
  async close(): Promise<void> {
    this.powerOff();
    await this.ended;
  }

  private end(why: string): void {
    const { controller, powered } = this.running ?? {};
    this.running = undefined;
    controller?.abort(new Error(why));
    this.ended = this.ended.then(() => powered?.off());
  }

  private async boot(boot: BootOverride, signal: AbortSignal): Promise<void> {
    const { clock, selfTestMs = 1000, bootRetryMs } = this.options;
    await sleep(clock, selfTestMs, signal);
    for (;;) {
      const failure = await this.bootOnce(boot, signal);
      if (failure === undefined) return;
      this.activity = 'no bootable device';
      this.tell(failure.type, failure.detail);
      if (bootRetryMs === undefined) return;
      await sleep(clock, bootRetryMs, signal);
    }
  }

  /** Undefined when something runs. */
  private async bootOnce(boot: BootOverride, signal: AbortSignal): Promise<{ type: string; detail?: string } | undefined> {
    const order = boot.device === 'disk' ? (['disk'] as const) : (['network', 'disk'] as const);
    try {
      for (const device of order) {
        signal.throwIfAborted();
        if (device === 'network' ? await this.bootNetwork(signal) : await this.bootDisk()) return undefined;
      }
      return { type: 'no bootable device' };
    } catch (error) {
      if (signal.aborted) throw error;
      return { type: 'boot failed', detail: messageOf(error) };
    }
  }

  /** False: the firmware goes on with its next device. */
  private async bootNetwork(signal: AbortSignal): Promise<boolean> {
    const { wire, mac, clock, random } = this.options;
    this.activity = 'network boot';
    this.tell('network boot');
    const lease = await dhcpBoot({ wire, mac, uuid: this.uuid, arch: BIOS_ARCH, clock, random, signal });
    if (!lease) {
      this.tell('no DHCP offer');
      return false;
    }
    this.tell('DHCP lease', `${lease.address} from ${lease.serverId}, file ${lease.bootFile ?? '(none)'}`);
    this.options.configureAddress?.(lease.address, lease.netmask);
    if (lease.bootFile === undefined) return false;
    const loader = await this.fetch(lease, lease.bootFile, signal);
    if (!loader) return false;
    const choice = await this.loaderChoice(lease, signal);
    if (!choice) {
      this.tell('the loader found no configuration');
      return false;
    }
    if (choice.kind === 'local') {
      this.tell('the loader leaves for the disk');
      return false;
    }
    await this.startKernel(lease, choice, signal);
    return true;
  }

  private async loaderChoice(lease: BootLease, signal: AbortSignal): Promise<PxelinuxChoice | undefined> {
    for (const name of configNames(this.uuid, this.options.mac, lease.address)) {
      const text = await this.fetch(lease, name, signal, true);
      if (text) return chooseLabel(Buffer.from(text).toString('utf8'), this.options.mac, lease);
    }
    return undefined;
  }

  private async startKernel(lease: BootLease, choice: PxelinuxChoice & { kind: 'kernel' }, signal: AbortSignal): Promise<void> {
    for (const file of [choice.kernel, ...(choice.initrd === undefined ? [] : [choice.initrd])]) {
      const bytes = await this.fetch(lease, file, signal);
      if (!bytes?.length) throw new Error(`the loader could not load ${file}`);
    }
    if (!choice.append.some((word) => word.startsWith('iscsi_target_iqn='))) {
      this.activity = 'running from the network';
      this.tell('running', `kernel ${choice.kernel}, ${choice.append.find((word) => word.startsWith('root=')) ?? 'no root'}`);
      return;
    }
    this.activity = 'deploy ramdisk';
    this.tell('deploy ramdisk started');
    const { network, clock, random, logger, disk, diskSerial, ports = {}, restart } = this.options;
    const ramdisk = runDeployRamdisk({
      commandLine: choice.append,
      network,
      clock,
      random,
      logger,
      signal,
      disks: new Map([['sda', disk]]),
      diskSerial,
      ...(this.options.hardware && { hardware: this.options.hardware }),
      deployHelperPort: ports.deployHelper ?? 10000,
      iscsiPort: ports.iscsi ?? 3260,
      onEvent: (type, detail) => this.tell(type, detail),
    });
    try {
      await ramdisk;
    } catch (error) {
      if (signal.aborted) throw error;
      // its shell stays open for somebody to look: the firmware is out of the game once a kernel runs
      this.activity = 'halted';
      this.tell('deploy ramdisk failed', messageOf(error));
      return;
    }
    if (restart) restart();
    else this.reset({ device: 'none', efi: false });
  }

  private async bootDisk(): Promise<boolean> {
    const { disk } = this.options;
    const sector = await disk.read(0, Math.max(SECTOR_BYTES, disk.blockBytes));
    // the signature of a boot sector, the only thing that a BIOS looks for
    if (sector[510] !== 0x55 || sector[511] !== 0xaa) {
      this.tell('the disk has no boot sector');
      return false;
    }
    this.activity = 'running from disk';
    this.tell('running', 'from its disk');
    return true;
  }

  /** Undefined when the server does not have it. `quiet`: one name of several that are tried. */
  private async fetch(lease: BootLease, path: string, signal: AbortSignal, quiet = false): Promise<Uint8Array | undefined> {
    const { ports } = this.options;
    const { network, clock } = this.running?.powered ?? this.options;
    try {
      const { data } = await tftpGet({
        network,
        clock,
        server: { address: lease.bootServer, port: ports?.tftp ?? 69 },
        path,
        blockBytes: BLOCK_BYTES,
        windowBlocks: WINDOW_BLOCKS,
        localAddress: lease.address,
        signal,
      });
      this.tell('loaded', `${path}, ${data.length} bytes`);
      return data;
    } catch (error) {
      if (signal.aborted) throw error;
      if (!quiet) this.tell('could not load', `${path}: ${messageOf(error)}`);
      return undefined;
    }
  }

  private tell(type: string, detail?: string): void {
    const { name, clock, logger, onEvent } = this.options;
    logger.debug({ server: name, type, ...(detail !== undefined && { detail }) }, 'simulated server');
    onEvent?.({ server: name, at: clock.now(), type, ...(detail !== undefined && { detail }) });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
