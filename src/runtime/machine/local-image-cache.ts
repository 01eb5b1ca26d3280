/** Images from a folder of this management node, checked before any machine is touched. */
import { copyFileSync, linkSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { contentDigest, type DiskImage, type OpenImageOptions, openImage as openImageFile } from '../deploy/image/index.ts';
import type { Store } from '../store/index.ts';
import { bootDirectory } from './boot-view.ts';
import { machineImageErrors } from './image-errors.ts';
import { type FlavorRecord, flavorKind, type ImageRecord, imageKind, type NodeRecord } from './node-record.ts';
import type { CachedImage, ImageCache } from './ports.ts';

/** Opens a user's image; the simulator wraps it to hold virtual time while the file is read. */
export type OpenImage = (options: OpenImageOptions) => Promise<DiskImage>;

export interface LocalImageCacheOptions {
  readonly store: Store;
  /** [pxe] user_image_dir: a file per image, named by its id. */
  readonly userImages: string;
  /** [pxe] deploy_image_dir: deploy_kernel and deploy_ramdisk. */
  readonly deployImages: string;
  /** [tftp] root: what a machine boots lies in a folder named after its instance. */
  readonly bootRoot: string;
  readonly openImage?: OpenImage;
}

const MIB = 1024 * 1024;
const DEPLOY_FILES = ['deploy_kernel', 'deploy_ramdisk'] as const;

export class LocalImageCache implements ImageCache {
  /** Content digests by path, size and time of change: an image is read whole once, not at every deployment. */
  private readonly digests = new Map<string, Promise<string>>();

  constructor(private readonly options: LocalImageCacheOptions) {}

  async cache(node: NodeRecord, signal: AbortSignal): Promise<CachedImage> {
    const { store, deployImages, bootRoot } = this.options;
    const id = node.instance?.imageId ?? '';
    const record = (await store.get(imageKind, id))?.value;
    if (record === undefined) throw permanent(machineImageErrors.MACHINE_IMAGE({ image: id, reason: 'it is not known' }));
    if (record.layout === 'partition' && record.boot !== 'kernel') {
      const reason = 'a partition image has no boot loader; register it with boot = kernel, a kernel_id and a ramdisk_id';
      throw permanent(machineImageErrors.MACHINE_IMAGE({ image: id, reason }));
    }
    const cached = await this.check(record, signal);
    const directory = join(bootRoot, bootDirectory(node));
    mkdirSync(directory, { recursive: true });
    for (const file of DEPLOY_FILES) place(join(deployImages, file), join(directory, file));
    if (record.boot === 'kernel') this.placeKernel(record, directory);
    if (record.layout !== 'partition') return cached;
    const flavorId = node.instance?.flavorId;
    const flavor = flavorId === undefined ? undefined : (await store.get(flavorKind, flavorId))?.value;
    return { ...cached, layout: 'partition', partitions: partitionSizes(flavor, cached.sizeBytes ?? 0) };
  }

  async cacheRamdisk(node: NodeRecord): Promise<void> {
    const { deployImages, bootRoot } = this.options;
    const directory = join(bootRoot, bootDirectory(node));
    mkdirSync(directory, { recursive: true });
    for (const file of DEPLOY_FILES) place(join(deployImages, file), join(directory, file));
  }

  async release(node: NodeRecord): Promise<void> {
    rmSync(join(this.options.bootRoot, bootDirectory(node)), { recursive: true, force: true });
  }

  /** Where an image's file lies. */
  path(image: string): string {
    return join(this.options.userImages, image);
  }

  /** What the instance boots over the network at every start: images of their own, as the original had them. */
  private placeKernel({ id, kernelId, ramdiskId }: ImageRecord, directory: string): void {
    for (const [file, source] of [
      ['kernel', kernelId],
      ['ramdisk', ramdiskId],
    ] as const) {
      if (source === undefined) {
        throw permanent(machineImageErrors.MACHINE_IMAGE({ image: id, reason: `it boots by kernel, but names no ${file}_id` }));
      }
      place(this.path(source), join(directory, file));
    }
  }

  private async check(record: ImageRecord, signal: AbortSignal): Promise<CachedImage> {
    const { openImage = openImageFile } = this.options;
    const path = this.path(record.id);
    let image: DiskImage;
    try {
      image = await openImage({ path, format: record.format, signal });
    } catch (error) {
      signal.throwIfAborted();
      throw permanent(machineImageErrors.MACHINE_IMAGE({ image: record.id, reason: messageOf(error) }, { cause: error }));
    }
    try {
      const { size, mtimeMs, ino } = statSync(path);
      const key = `${path} ${ino} ${size} ${mtimeMs}`;
      let digest = this.digests.get(key);
      if (digest === undefined) {
        digest = contentDigest(image, { signal });
        this.digests.set(key, digest);
        digest.catch(() => this.digests.delete(key));
      }
      const sha256 = await digest;
      if (record.sha256 !== undefined && record.sha256 !== sha256) {
        const reason = `its content has SHA-256 ${sha256}, not ${record.sha256}`;
        throw machineImageErrors.MACHINE_IMAGE({ image: record.id, reason });
      }
      return { sizeBytes: image.virtualSizeBytes, sha256, boot: record.boot };
    } catch (error) {
      signal.throwIfAborted();
      throw permanent(error instanceof Error ? error : new Error(String(error)));
    } finally {
      await image.close();
    }
  }
}

/** In MiB, from the flavor as in the original: the root holds the image at least, and swap is never nothing. */
function partitionSizes(flavor: FlavorRecord | undefined, imageBytes: number): NonNullable<CachedImage['partitions']> {
  const rootMb = flavor === undefined || flavor.localGb === 0 ? 0 : Math.max(flavor.localGb * 1024, Math.ceil(imageBytes / MIB));
  return { rootMb, swapMb: Math.max(1, flavor?.swapMb ?? 0), ephemeralMb: (flavor?.ephemeralGb ?? 0) * 1024 };
}

/** The same bytes under another name; a copy where the file systems differ. */
function place(source: string, target: string): void {
  rmSync(target, { force: true });
  try {
    linkSync(source, target);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw permanent(machineImageErrors.MACHINE_IMAGE({ image: source, reason: 'the file is missing' }, { cause: error }));
    }
    copyFileSync(source, target);
  }
}

function permanent(error: Error): Error {
  return Object.assign(error, { permanent: true });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
