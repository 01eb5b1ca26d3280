/** Writes images to the disks that deploy ramdisks export, over iSCSI from user space. */
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Network } from '../core/network.ts';
import type { Random } from '../core/random.ts';
import { openImage as openImageFile, writeImage } from '../deploy/image/index.ts';
import { ChapSecret, type IscsiDisk, makeIsid, openDisk } from '../deploy/iscsi/index.ts';
import type { OpenImage } from './local-image-cache.ts';
import type { Deployment, DiskIdentity } from './node-record.ts';
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
    { imageId }: Pick<Deployment, 'imageId' | 'image'>,
    onProgress: (progress: DeployProgress) => void,
    signal: AbortSignal,
  ): Promise<WrittenImage> {
    const { openImage = openImageFile, imagePath } = this.options;
    const image = await openImage({ path: imagePath(imageId), signal });
    try {
      const disk = await this.open(target, signal);
      try {
        const { sha256 } = await writeImage(image, disk, {
          verify: true,
          signal,
          onProgress: ({ phase, doneBytes, totalBytes }) => {
            if (phase === 'write') onProgress({ bytes: doneBytes, totalBytes });
          },
        });
        return { bytes: image.virtualSizeBytes, sha256 };
      } finally {
        await disk.close();
      }
    } finally {
      await image.close();
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
