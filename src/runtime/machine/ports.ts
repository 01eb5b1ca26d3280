/**
 * What the machine's life needs from below. Narrow on purpose: the composition root adapts the planes to them, tests give fixtures.
 *
 * Every method is idempotent: after a crash the owner, or its successor, calls it again for the same machine and deployment. Every method
 * that takes a signal stops soon after it aborts and rejects with its reason. A failure that trying again cannot cure (unknown image,
 * wrong password) has a property `permanent: true`; all others are tried again with back-off.
 */
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import type { Deployment, DiskIdentity } from './deployment-record.ts';
import type { NodeRecord, WipeMode } from './node-record.ts';
import type { SecretStore } from './secrets.ts';

export type PowerState = 'on' | 'off';

export interface MachinePower {
  status(node: NodeRecord, signal: AbortSignal): Promise<PowerState>;
  /** Resolves when the machine is seen on; rejects when it does not come up within the driver's retries. */
  ensureOn(node: NodeRecord, signal: AbortSignal): Promise<void>;
  ensureOff(node: NodeRecord, signal: AbortSignal): Promise<void>;
  /** Asks the operating system to shut down; it may not listen. */
  softOff(node: NodeRecord, signal: AbortSignal): Promise<void>;
  setBootDevice(node: NodeRecord, device: 'pxe' | 'disk', options: { readonly persistent: boolean }, signal: AbortSignal): Promise<void>;
}

export interface VifDriver {
  /** Gives each virtual interface of the instance a physical one; resolves to the assignment by MAC. */
  plug(node: NodeRecord, signal: AbortSignal): Promise<Readonly<Record<string, string>>>;
  unplug(node: NodeRecord, signal: AbortSignal): Promise<void>;
}

export interface VolumeDriver {
  /** All volumes of the instance. */
  attach(node: NodeRecord, signal: AbortSignal): Promise<void>;
  detach(node: NodeRecord, signal: AbortSignal): Promise<void>;
  /** One more, and one less, on a machine in use. */
  attachVolume(node: NodeRecord, volume: string, signal: AbortSignal): Promise<void>;
  detachVolume(node: NodeRecord, volume: string, signal: AbortSignal): Promise<void>;
}

export interface FirewallDriver {
  start(node: NodeRecord, signal: AbortSignal): Promise<void>;
  stop(node: NodeRecord, signal: AbortSignal): Promise<void>;
}

/** What is known of an image before it is written. */
export interface CachedImage {
  /** Bytes on the disk, i.e. of the raw form. */
  readonly sizeBytes?: number;
  /** SHA-256 of the raw form, lower-case hex. */
  readonly sha256?: string;
  /** How the instance boots: see Deployment. Default `local`. */
  readonly boot?: 'local' | 'kernel';
  readonly layout?: Deployment['image']['layout'];
  readonly partitions?: Deployment['image']['partitions'];
  readonly method?: Deployment['image']['method'];
  /** The instance is to report that it is up, and ACTIVE waits for that. Default false. */
  readonly phonesHome?: boolean;
}

export interface ImageCache {
  /** Makes the instance's image and the deploy kernel and ramdisk ready to use. An unknown or corrupt image is permanent. */
  cache(node: NodeRecord, signal: AbortSignal): Promise<CachedImage>;
  /** The deploy kernel and ramdisk alone: for an inspection, a cleaning, a rescue. */
  cacheRamdisk(node: NodeRecord, signal: AbortSignal): Promise<void>;
  release(node: NodeRecord, signal: AbortSignal): Promise<void>;
}

export interface Bootloader {
  /** From now on the machine's network boot gets the deploy ramdisk, with the deployment's id, target name and key. */
  activate(node: NodeRecord, key: Secret, signal: AbortSignal): Promise<void>;
  /** From now on it gets the instance: its disk, or its kernel (N12). */
  switchToBoot(node: NodeRecord, signal: AbortSignal): Promise<void>;
  deactivate(node: NodeRecord, signal: AbortSignal): Promise<void>;
}

export interface DeployTarget {
  readonly nodeUuid: string;
  readonly deploymentId: string;
  /** Install generation; 0 where nothing is installed (cleaning). */
  readonly generation: number;
  readonly epoch: number;
  readonly address: string;
  readonly port: number;
  readonly lun: number;
  readonly iqn: string;
  /** For a target that asks for CHAP. */
  readonly chap: { readonly username: string; readonly secret: Secret };
}

export interface DeployProgress {
  /** Of an image: being written, or read back. */
  readonly phase?: 'write' | 'verify';
  readonly bytes: number;
  readonly totalBytes?: number;
}

export interface WrittenImage {
  readonly bytes: number;
  /** SHA-256 of the raw bytes as they are on the disk, lower-case hex. */
  readonly sha256: string;
  /** For images that boot by kernel: the root file system, e.g. `UUID=…`. */
  readonly root?: string;
}

/** How a deployment and the machine's record speak to each other while an image is written. */
export interface DeployHooks {
  /** The disk as `identify` found it: no other one is written. */
  readonly disk: DiskIdentity;
  readonly onProgress: (progress: DeployProgress) => void;
  /** Asked after each login, before the first byte. Rejects when the machine has another owner. */
  readonly stillOurs: () => Promise<void>;
  /** What `onSynced` told an earlier run of this deployment, on this disk. */
  readonly resumeAt?: number;
  /** So many chunks of the image are on the disk for good. */
  readonly onSynced: (chunks: number) => Promise<void>;
}

export interface Deployer {
  /** Looks at the exported disk without writing. */
  identify(target: DeployTarget, signal: AbortSignal): Promise<DiskIdentity>;
  /** Writes the image, reads back or checks what it must, and leaves the disk flushed. */
  write(target: DeployTarget, image: Pick<Deployment, 'imageId' | 'image'>, hooks: DeployHooks, signal: AbortSignal): Promise<WrittenImage>;
  /** Writes zeros: over what makes a disk look used, or over everything. Flushed when it resolves, to the number of bytes erased. */
  erase(
    target: DeployTarget,
    mode: WipeMode,
    hooks: Pick<DeployHooks, 'disk' | 'onProgress' | 'stillOurs'>,
    signal: AbortSignal,
  ): Promise<number>;
}

export interface RamdiskNotifier {
  /** Ends the ramdisk's wait on port 10000. */
  done(address: string, token: Secret, signal: AbortSignal): Promise<void>;
}

export interface MachinePorts {
  readonly power: MachinePower;
  readonly vifs: VifDriver;
  readonly volumes: VolumeDriver;
  readonly firewall: FirewallDriver;
  readonly images: ImageCache;
  readonly bootloader: Bootloader;
  readonly deployer: Deployer;
  readonly notifier: RamdiskNotifier;
  readonly secrets: SecretStore;
}

export function isPermanent(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'permanent' in error && error.permanent === true;
}
