/** Writes images to the disks that deploy ramdisks export, over iSCSI from user space. */
import { CodedError } from 'cdk8s-baremetal-contract';
import { type Clock, sleep } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Network } from '../core/network.ts';
import { type Random, randomInt } from '../core/random.ts';
import type { Bandwidth } from '../deploy/bandwidth.ts';
import { directSteps } from '../deploy/direct/index.ts';
import type { ReadyImage } from '../deploy/image/cache/index.ts';
import { type DiskImage, type ReadBack, type Sha256, type WriteImageOptions, writeImage } from '../deploy/image/index.ts';
import { ChapSecret, type IscsiDisk, iscsiErrors, makeIsid, openDisk } from '../deploy/iscsi/index.ts';
import {
  appendPartition,
  describeDisk,
  encodeConfigDrive,
  eraseEnd,
  metadataExtents,
  writePartitionImage,
} from '../deploy/layout/index.ts';
import { isPassing, judged } from './deploy-failures.ts';
import { DEFAULT_PARTITIONS, type Deployment, type DiskIdentity } from './deployment-record.ts';
import type { WipeMode } from './node-record.ts';
import type { Deployer, DeployHooks, DeployTarget, WrittenImage } from './ports.ts';

export interface IscsiDeployerOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /**
   * Name of the initiator, the same on every replica: a target then drops the session of a replica that lost the machine as soon
   * as its successor logs in (RFC 7143 section 6.3.5).
   */
  readonly initiatorName: string;
  /** Also targets that ask for no CHAP, as ramdisks of the original's protocol export them. Default false. */
  readonly openTargets?: boolean;
  /** Source address towards the machines. */
  readonly localAddress?: string;
  /** The image as it was when the deployment was planned; another content under its id is refused. */
  readonly acquireImage: (image: { readonly id: string; readonly sha256?: string }, signal: AbortSignal) => Promise<ReadyImage>;
  /** What all deployments together may send. */
  readonly bandwidth?: Bandwidth;
  /** How much of an image is read back. Default `sample`. */
  readonly verify?: ReadBack;
  /** Default: on the spot. */
  readonly sha256?: Sha256;
  /** How many bytes may have to be sent again after a lost connection. Default 256 MiB. */
  readonly syncEveryBytes?: number;
}

/** What targets without an account answer to CHAP: LIO the first, tgt the second. */
const OPEN_TARGET: ReadonlySet<string> = new Set(['ISCSI_AUTHENTICATION_FAILED', 'ISCSI_CHAP_REFUSED']);

/** One session per deployment at a time, so every session of ours to a target is the same initiator port. */
const ISID_CONTROLLER = 1;

/** Where tables and superblocks of the disk itself are. */
const LOOKED_AT_BYTES = 1024 * 1024;
/** Small enough for progress and for a destroy to come through. */
const ERASE_STEP_BYTES = 1024 * 1024 * 1024;

/** Lost connections in a row without a byte of progress in between; the pauses double from one second. */
const MOST_RECONNECTS = 6;
const RECONNECT_PAUSE_MS = 1_000;

export class IscsiDeployer implements Deployer {
  constructor(private readonly options: IscsiDeployerOptions) {}

  async identify(target: DeployTarget, signal: AbortSignal): Promise<DiskIdentity> {
    return this.judging(async () => {
      const disk = await this.open(target, signal);
      try {
        const start = await disk.read(0, Math.min(wholeBytes(disk), LOOKED_AT_BYTES));
        const holds = describeDisk(start, disk);
        return { ...identityOf(disk), ...(holds !== undefined && { holds }) };
      } finally {
        await disk.close();
      }
    });
  }

  /**
   * The order is what keeps two writers apart: log in, which drops any session before this one; ask whether the machine is still ours, which
   * fails for whoever lost it; and only then write. A replica that sleeps in between wakes up without a session.
   */
  async write(
    target: DeployTarget,
    deployment: Parameters<Deployer['write']>[1],
    hooks: DeployHooks,
    signal: AbortSignal,
  ): Promise<WrittenImage> {
    return this.judging(async () => {
      const { sha256 } = deployment.image;
      const ready = await this.options.acquireImage({ id: deployment.imageId, ...(sha256 !== undefined && { sha256 }) }, signal);
      const image = await ready.open(signal).catch((error: unknown) => {
        ready.release();
        throw error;
      });
      try {
        return await this.persistently(target, hooks, signal, (disk, resumeAt, told) =>
          this.put(ready, image, disk, deployment.image, { ...told, resumeAt }, signal),
        );
      } catch (error) {
        // a rotten file would fail every deployment from now on
        if (error instanceof CodedError && error.code === 'IMAGE_CHUNK_MISMATCH') await ready.distrust?.();
        throw error;
      } finally {
        await image.close();
        ready.release();
      }
    });
  }

  /** In the order of `write`: who wakes up late, with another's deployment on the disk by now, is stopped before the first zero. */
  async erase(
    target: DeployTarget,
    mode: WipeMode,
    { disk: wanted, onProgress, stillOurs }: Pick<DeployHooks, 'disk' | 'onProgress' | 'stillOurs'>,
    signal: AbortSignal,
  ): Promise<number> {
    return this.judging(async () => {
      const disk = await this.open(target, signal);
      try {
        mustBe(disk, wanted, target);
        await stillOurs();
        await disk.reserve();
        const sizeBytes = wholeBytes(disk);
        const start = await disk.read(0, Math.min(sizeBytes, LOOKED_AT_BYTES));
        const extents = mode === 'full' ? [{ offset: 0, length: sizeBytes }] : metadataExtents(start, disk);
        const totalBytes = extents.reduce((sum, { length }) => sum + length, 0);
        let bytes = 0;
        for (const { offset, length } of extents) {
          for (let at = 0; at < length; at += ERASE_STEP_BYTES) {
            signal.throwIfAborted();
            const step = Math.min(ERASE_STEP_BYTES, length - at);
            await disk.zero(offset + at, step);
            bytes += step;
            onProgress({ bytes, totalBytes });
          }
        }
        await disk.flush();
        // A disk that says yes and does nothing would hand the last owner's table to the next one.
        const after = await disk.read(0, start.length);
        if (after.some((byte) => byte !== 0)) throw new Error('the disk did not keep the zeros that were written to it');
        return bytes;
      } finally {
        await disk.close();
      }
    });
  }

  /** Opens the disk and runs `work`, again after each lost connection, from where the disk had everything for good. */
  private async persistently<T>(
    target: DeployTarget,
    hooks: DeployHooks,
    signal: AbortSignal,
    work: (disk: IscsiDisk, resumeAt: number, told: Pick<WriteImageOptions, 'onProgress' | 'onSynced'>) => Promise<T>,
  ): Promise<T> {
    const { clock, random, logger } = this.options;
    let synced = hooks.resumeAt ?? 0;
    for (let failures = 0; ; ) {
      let progressed = false;
      try {
        const disk = await this.open(target, signal);
        try {
          mustBe(disk, hooks.disk, target);
          await hooks.stillOurs();
          await disk.reserve();
          return await work(disk, synced, {
            onProgress: ({ phase, doneBytes, totalBytes }) => {
              progressed = true;
              hooks.onProgress({ phase, bytes: doneBytes, totalBytes });
            },
            onSynced: async (chunks) => {
              synced = chunks;
              await hooks.onSynced(chunks);
            },
          });
        } finally {
          await disk.close();
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!isPassing(error)) throw error;
        failures = progressed ? 1 : failures + 1;
        if (failures > MOST_RECONNECTS) throw error;
        const pauseMs = RECONNECT_PAUSE_MS * 2 ** (failures - 1);
        logger.warn({ node: target.nodeUuid, error: String(error), chunks: synced, pauseMs }, 'writing is interrupted, and goes on');
        await sleep(clock, pauseMs + randomInt(random, pauseMs / 2), signal);
      }
    }
  }

  private async put(
    { manifest }: ReadyImage,
    image: DiskImage,
    disk: IscsiDisk,
    wanted: Deployment['image'],
    told: Pick<WriteImageOptions, 'onProgress' | 'onSynced' | 'resumeAt'>,
    signal: AbortSignal,
  ): Promise<WrittenImage> {
    const { random, bandwidth, verify = 'sample', sha256: hashing, syncEveryBytes } = this.options;
    const writing: WriteImageOptions = {
      manifest,
      verify,
      sampleShift: randomInt(random, 1024) / 1024,
      signal,
      ...told,
      ...(bandwidth && { throttle: (bytes) => bandwidth.take(bytes, signal) }),
      ...(hashing && { sha256: hashing }),
      ...(syncEveryBytes !== undefined && { syncEveryBytes }),
    };
    const configDrive = wanted.configDrive && encodeConfigDrive(wanted.configDrive, disk.blockBytes);
    const partitions = wanted.partitions ?? DEFAULT_PARTITIONS;
    // What cannot come out well is found before the first byte, and not when gigabytes are written.
    await directSteps({
      diskBytes: disk.sizeBytes,
      blockBytes: disk.blockBytes,
      image,
      manifest,
      random,
      ...(wanted.layout === 'partition' && { partitions }),
      ...(wanted.configDrive && { configDrive: wanted.configDrive }),
    });
    if (wanted.layout !== 'partition') {
      await eraseEnd(disk, manifest.sizeBytes);
      const { sha256 } = await writeImage(image, disk, writing);
      if (configDrive) await appendPartition(disk, configDrive, { name: wanted.configDrive?.label ?? '', random });
      return { bytes: manifest.sizeBytes, sha256 };
    }
    const { sha256, root } = await writePartitionImage(image, disk, {
      ...writing,
      random,
      partitions,
      preserveEphemeral: wanted.preserveEphemeral === true,
      ...(configDrive && { configDrive }),
    });
    return { bytes: manifest.sizeBytes, sha256, root: `UUID=${root.uuid}` };
  }

  private async judging<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw judged(error);
    }
  }

  private async open(target: DeployTarget, signal: AbortSignal): Promise<IscsiDisk> {
    try {
      return await this.login(target, signal, true);
    } catch (error) {
      const isOpen = error instanceof CodedError && OPEN_TARGET.has(error.code);
      if (!isOpen || !this.options.openTargets) throw error;
      this.options.logger.warn({ node: target.nodeUuid }, 'the ramdisk exports its disk to everybody: it knows no CHAP');
      return this.login(target, signal, false);
    }
  }

  private login(target: DeployTarget, signal: AbortSignal, withChap: boolean): Promise<IscsiDisk> {
    const { network, clock, random, logger, initiatorName, localAddress } = this.options;
    return openDisk({
      network,
      clock,
      random,
      logger,
      portal: { address: target.address, port: target.port },
      ...(localAddress !== undefined && { localAddress }),
      targetName: target.iqn,
      lun: target.lun,
      initiatorName,
      isid: makeIsid(ISID_CONTROLLER, 0),
      ...(withChap && { chap: { user: target.chap.username, secret: new ChapSecret(target.chap.secret.reveal()) } }),
      signal,
    });
  }
}

function identityOf(disk: IscsiDisk): DiskIdentity {
  return { ...(disk.serial !== '' && { serial: disk.serial }), sizeBytes: disk.sizeBytes };
}

/** What was looked at is what is written, also after a reconnect. */
function mustBe(disk: IscsiDisk, wanted: DiskIdentity, { address, port }: DeployTarget): void {
  const found = identityOf(disk);
  if (found.serial === wanted.serial && found.sizeBytes === wanted.sizeBytes) return;
  const words = ({ serial, sizeBytes }: DiskIdentity): string => `${serial ?? 'one without a serial number'} of ${sizeBytes} bytes`;
  throw iscsiErrors.ISCSI_DISK_CHANGED({ portal: `${address}:${port}`, found: words(found), wanted: words(wanted) });
}

function wholeBytes({ sizeBytes, blockBytes }: IscsiDisk): number {
  return sizeBytes - (sizeBytes % blockBytes);
}
