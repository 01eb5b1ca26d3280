/** What a machine's deployment needs of images: the user's, ready and checked before any machine is touched, and what the machine boots. */
import { copyFileSync, linkSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type ImageWanted, parseChecksum, type ReadyImage, type ImageCache as SharedImages } from '../deploy/image/cache/index.ts';
import type { DiskImage, OpenImageOptions } from '../deploy/image/index.ts';
import type { Store } from '../store/index.ts';
import { bootDirectory } from './boot-view.ts';
import { type FlavorRecord, flavorKind, type ImageRecord, imageKind } from './catalog-records.ts';
import { machineImageErrors } from './image-errors.ts';
import type { NodeRecord } from './node-record.ts';
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
  /** Shared by all deployments of this replica. */
  readonly images: SharedImages;
  /** [deploy_helper] method. Default `iscsi`. */
  readonly method?: DeployMethod;
  /** [deploy_helper] wait_for_phone_home. Default false. */
  readonly waitForPhoneHome?: boolean;
}

export type DeployMethod = 'iscsi' | 'direct';

const MIB = 1024 * 1024;
const PASSING: ReadonlySet<string> = new Set([
  ...['IMAGE_FETCH', 'IMAGE_CACHE_FULL', 'IMAGE_CACHE_DISK_FULL', 'IMAGE_CHANGED'],
  // a file server that is away for a while, a process that has too much open
  ...['EIO', 'ESTALE', 'ETIMEDOUT', 'EAGAIN', 'EMFILE', 'ENFILE'],
]);
const DEPLOY_FILES = ['deploy_kernel', 'deploy_ramdisk'] as const;

export class LocalImageCache implements ImageCache {
  constructor(private readonly options: LocalImageCacheOptions) {}

  async cache(node: NodeRecord, signal: AbortSignal): Promise<CachedImage> {
    const { store, bootRoot } = this.options;
    const id = node.instance?.imageId ?? '';
    const record = (await store.get(imageKind, id))?.value;
    if (record === undefined) throw permanent(machineImageErrors.MACHINE_IMAGE({ image: id, reason: 'it is not known' }));
    if (record.layout === 'partition' && record.boot !== 'kernel') {
      const reason = 'a partition image has no boot loader; register it with boot = kernel, a kernel_id and a ramdisk_id';
      throw permanent(machineImageErrors.MACHINE_IMAGE({ image: id, reason }));
    }
    const checked = await this.check(record, signal);
    const directory = join(bootRoot, bootDirectory(node));
    mkdirSync(directory, { recursive: true });
    const flavor = await this.flavorOf(node);
    const cached = {
      ...checked,
      method: methodFor(node, flavor, this.options.method),
      phonesHome: phonesHome(node, flavor, this.options.waitForPhoneHome),
    };
    this.placeDeployFiles(flavor, directory);
    if (record.boot === 'kernel') this.placeKernel(record, directory);
    if (record.layout !== 'partition') return cached;
    return { ...cached, layout: 'partition', partitions: partitionSizes(flavor, cached.sizeBytes ?? 0) };
  }

  async cacheRamdisk(node: NodeRecord): Promise<void> {
    const directory = join(this.options.bootRoot, bootDirectory(node));
    mkdirSync(directory, { recursive: true });
    this.placeDeployFiles(await this.flavorOf(node), directory);
  }

  async release(node: NodeRecord): Promise<void> {
    rmSync(join(this.options.bootRoot, bootDirectory(node)), { recursive: true, force: true });
  }

  /** Where an image's file lies. */
  path(image: string): string {
    return join(this.options.userImages, image);
  }

  private async flavorOf({ instance }: NodeRecord): Promise<FlavorRecord | undefined> {
    return instance?.flavorId === undefined ? undefined : (await this.options.store.get(flavorKind, instance.flavorId))?.value;
  }

  /** The flavor's own deploy kernel and ramdisk, images among the user's; the site's where it names none. They go together: one cannot boot the other's. */
  private placeDeployFiles(flavor: FlavorRecord | undefined, directory: string): void {
    const own = { deploy_kernel: flavor?.deployKernelId, deploy_ramdisk: flavor?.deployRamdiskId };
    for (const file of DEPLOY_FILES) {
      const image = own[file];
      place(image === undefined ? join(this.options.deployImages, file) : this.path(image), join(directory, file));
    }
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

  /** The image as it was registered, ready to be written; `sha256`: as a deployment knows it. */
  async acquire({ id, sha256 }: { readonly id: string; readonly sha256?: string }, signal: AbortSignal): Promise<ReadyImage> {
    const record = (await this.options.store.get(imageKind, id))?.value;
    if (record === undefined) throw permanent(machineImageErrors.MACHINE_IMAGE({ image: id, reason: 'it is not known' }));
    try {
      return await this.options.images.acquire({ ...this.wanted(record), ...(sha256 !== undefined && { sha256 }) }, signal);
    } catch (error) {
      signal.throwIfAborted();
      // The network, file servers and the cache's room come back; everything else is the image itself.
      if (error instanceof Error && 'code' in error && PASSING.has(String(error.code))) throw error;
      throw permanent(machineImageErrors.MACHINE_IMAGE({ image: id, reason: messageOf(error) }, { cause: error }));
    }
  }

  private wanted({ id, format, source, checksum, sha256 }: ImageRecord): ImageWanted {
    return {
      ...(source === undefined ? { source: this.path(id), placed: true } : { source }),
      format,
      ...(checksum !== undefined && { checksum: parseChecksum(checksum) }),
      ...(sha256 !== undefined && { sha256 }),
    };
  }

  private async check(record: ImageRecord, signal: AbortSignal): Promise<CachedImage> {
    const ready = await this.acquire(record, signal);
    const { sizeBytes, sha256 } = ready.manifest;
    ready.release();
    return { sizeBytes, sha256, boot: record.boot };
  }
}

/** The machine's word, then its flavor's, then the site's. What is to be kept is looked at over iSCSI, since a ramdisk does not read tables. */
function methodFor(node: NodeRecord, flavor: FlavorRecord | undefined, site: DeployMethod = 'iscsi'): DeployMethod {
  if (node.instance?.preserveEphemeral) return 'iscsi';
  const word = node.properties.capabilities?.deploy_method ?? flavor?.extraSpecs?.['baremetal:deploy_method'] ?? site;
  if (word === 'iscsi' || word === 'direct') return word;
  throw permanent(
    machineImageErrors.MACHINE_IMAGE({
      image: node.instance?.imageId ?? '',
      reason: `deploy_method is "${word}", and can be iscsi or direct`,
    }),
  );
}

/** The flavor's word, since an image that cannot report goes with a flavor; then the site's. */
function phonesHome(node: NodeRecord, flavor: FlavorRecord | undefined, site = false): boolean {
  const word = flavor?.extraSpecs?.['baremetal:wait_for_phone_home'] ?? String(site);
  if (word === 'true' || word === 'false') return word === 'true';
  const reason = `wait_for_phone_home is "${word}", and can be true or false`;
  throw permanent(machineImageErrors.MACHINE_IMAGE({ image: node.instance?.imageId ?? '', reason }));
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
