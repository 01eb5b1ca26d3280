/** Writes images to the disks that deploy ramdisks export, over iSCSI from user space. */
import { CodedError } from 'cdk8s-baremetal-contract';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Network } from '../core/network.ts';
import type { Random } from '../core/random.ts';
import { openImage as openImageFile, type WriteImageOptions, writeImage } from '../deploy/image/index.ts';
import { ChapSecret, type IscsiDisk, makeIsid, openDisk } from '../deploy/iscsi/index.ts';
import { metadataExtents, writePartitionImage } from '../deploy/layout/index.ts';
import type { OpenImage } from './local-image-cache.ts';
import type { Deployment, DiskIdentity, WipeMode } from './node-record.ts';
import type { Deployer, DeployProgress, DeployTarget, WrittenImage } from './ports.ts';

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
  /** Source address towards the machines. */
  readonly localAddress?: string;
  readonly imagePath: (image: string) => string;
  readonly openImage?: OpenImage;
}

/** One session per deployment at a time, so every session of ours to a target is the same initiator port. */
const ISID_CONTROLLER = 1;

/** Where tables and superblocks of the disk itself are. */
const LOOKED_AT_BYTES = 1024 * 1024;
/** Small enough for progress and for a destroy to come through. */
const ERASE_STEP_BYTES = 1024 * 1024 * 1024;

export class IscsiDeployer implements Deployer {
  constructor(private readonly options: IscsiDeployerOptions) {}

  async identify(target: DeployTarget, signal: AbortSignal): Promise<DiskIdentity> {
    const disk = await this.open(target, signal);
    try {
      return { ...(disk.serial !== '' && { serial: disk.serial }), sizeBytes: disk.sizeBytes };
    } finally {
      await disk.close();
    }
  }

  async write(
    target: DeployTarget,
    { imageId, image: wanted }: Pick<Deployment, 'imageId' | 'image'>,
    onProgress: (progress: DeployProgress) => void,
    signal: AbortSignal,
  ): Promise<WrittenImage> {
    const { openImage = openImageFile, imagePath } = this.options;
    const image = await openImage({ path: imagePath(imageId), signal });
    try {
      const disk = await this.open(target, signal);
      try {
        const writing: WriteImageOptions = {
          verify: true,
          signal,
          onProgress: ({ phase, doneBytes, totalBytes }) => {
            if (phase === 'write') onProgress({ bytes: doneBytes, totalBytes });
          },
        };
        if (wanted.layout !== 'partition') {
          const { sha256 } = await writeImage(image, disk, writing);
          return { bytes: image.virtualSizeBytes, sha256 };
        }
        const { sha256, root } = await writePartitionImage(image, disk, {
          ...writing,
          random: this.options.random,
          partitions: wanted.partitions ?? { rootMb: 0, swapMb: 1, ephemeralMb: 0 },
          preserveEphemeral: wanted.preserveEphemeral === true,
        }).catch((error: unknown) => {
          // Sizes do not change by trying again, and neither does what is on the disk.
          if (error instanceof CodedError && error.code.startsWith('LAYOUT_')) throw Object.assign(error, { permanent: true });
          throw error;
        });
        return { bytes: image.virtualSizeBytes, sha256, root: `UUID=${root.uuid}` };
      } finally {
        await disk.close();
      }
    } finally {
      await image.close();
    }
  }

  async erase(target: DeployTarget, mode: WipeMode, onProgress: (progress: DeployProgress) => void, signal: AbortSignal): Promise<number> {
    const disk = await this.open(target, signal);
    try {
      const sizeBytes = disk.sizeBytes - (disk.sizeBytes % disk.blockBytes);
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
  }

  private open(target: DeployTarget, signal: AbortSignal): Promise<IscsiDisk> {
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
      chap: { user: target.chap.username, secret: new ChapSecret(target.chap.secret.reveal()) },
      signal,
    });
  }
}
