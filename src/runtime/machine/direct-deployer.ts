/**
 * The `direct` method as the machine's life sees it: nothing is written from here. The ramdisk pulls the image, and what it says of that is on the
 * machine's record; this waits for it. Which method a deployment has is on its record too.
 */
import { CodedError } from 'cdk8s-baremetal-contract';
import { type Clock, sleep } from '../core/clock.ts';
import type { Random } from '../core/random.ts';
import { directSteps } from '../deploy/direct/index.ts';
import type { ReadyImage } from '../deploy/image/cache/index.ts';
import { fileSystemOf, SUPERBLOCK_BYTES } from '../deploy/layout/superblock.ts';
import type { Store } from '../store/index.ts';
import { DEFAULT_PARTITIONS, type Deployment, type DiskIdentity } from './deployment-record.ts';
import { machineErrors } from './errors.ts';
import { nodeKind } from './node-record.ts';
import type { Deployer, DeployHooks, DeployTarget, WrittenImage } from './ports.ts';

export interface DirectDeployerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly acquireImage: (image: { readonly id: string; readonly sha256?: string }, signal: AbortSignal) => Promise<ReadyImage>;
  /** For deployments of the other method, and for cleaning. */
  readonly iscsi: Deployer;
  /** How long a ramdisk, which tells every three seconds how far it is, may say nothing. Default 120,000. */
  readonly silenceMs?: number;
}

/** The store tells of changes; what it missed is seen after this. */
const LOOK_MS = 5_000;
const SILENCE_MS = 120_000;

/** By the method of each deployment. */
export function deployerByMethod(options: DirectDeployerOptions): Deployer {
  const { store, iscsi } = options;
  const direct = new DirectDeployer(options);
  const chosen = async ({ nodeUuid, deploymentId }: DeployTarget): Promise<Pick<Deployer, 'identify' | 'write'>> => {
    const deployment = (await store.get(nodeKind, nodeUuid))?.value.deployment;
    return deployment?.id === deploymentId && deployment.image.method === 'direct' ? direct : iscsi;
  };
  return {
    identify: async (target, signal) => (await chosen(target)).identify(target, signal),
    write: async (target, image, hooks, signal) => (await chosen(target)).write(target, image, hooks, signal),
    erase: (target, mode, hooks, signal) => iscsi.erase(target, mode, hooks, signal),
  };
}

class DirectDeployer implements Pick<Deployer, 'identify' | 'write'> {
  constructor(private readonly options: DirectDeployerOptions) {}

  /** As the ramdisk said when it used its key. */
  async identify(target: DeployTarget): Promise<DiskIdentity> {
    const disk = (await this.deployment(target))?.claim?.disk;
    if (disk === undefined) throw permanent(machineErrors.MACHINE_DIRECT({ reason: 'the ramdisk named no disk' }));
    return disk;
  }

  async write(
    target: DeployTarget,
    { imageId, image }: Pick<Deployment, 'imageId' | 'image'>,
    hooks: DeployHooks,
    signal: AbortSignal,
  ): Promise<WrittenImage> {
    const { sha256 } = image;
    const ready = await this.options.acquireImage({ id: imageId, ...(sha256 !== undefined && { sha256 }) }, signal);
    try {
      const bytes = ready.manifest.sizeBytes;
      const root = await this.looked(ready, hooks.disk, image, signal);
      await hooks.stillOurs();
      const written = await this.done(target, bytes, hooks, signal);
      if (written !== ready.manifest.sha256) {
        throw permanent(machineErrors.MACHINE_CHECKSUM({ written, expected: ready.manifest.sha256 }));
      }
      return { bytes, sha256: written, ...(root !== undefined && { root }) };
    } finally {
      ready.release();
    }
  }

  /**
   * That the image fits, and where it begins with a root file system, as a kernel is told of it. Said here too, and not only to the ramdisk: the deployment
   * fails at once and with the same words as over iSCSI.
   */
  private async looked(
    ready: ReadyImage,
    { sizeBytes: diskBytes, blockBytes }: DiskIdentity,
    { layout, partitions, configDrive }: Deployment['image'],
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const image = await ready.open(signal);
    try {
      const { manifest } = ready;
      const { random } = this.options;
      const parts = layout === 'partition' ? { partitions: partitions ?? DEFAULT_PARTITIONS } : {};
      const blocks = blockBytes === undefined ? {} : { blockBytes };
      await directSteps({ diskBytes, image, manifest, random, ...blocks, ...parts, ...(configDrive && { configDrive }) });
      if (layout !== 'partition') return undefined;
      const root = fileSystemOf(await image.read(0, Math.min(image.virtualSizeBytes, SUPERBLOCK_BYTES)));
      return root && `UUID=${root.uuid}`;
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof CodedError ? permanent(error) : error;
    } finally {
      await image.close();
    }
  }

  /** Resolves to what the ramdisk says that it wrote. */
  private async done(target: DeployTarget, totalBytes: number, { onProgress }: DeployHooks, signal: AbortSignal): Promise<string> {
    const { store, clock, silenceMs = SILENCE_MS } = this.options;
    let changed = Promise.withResolvers<void>();
    const watch = store.watch(nodeKind, (event) => {
      if ((event.type === 'put' ? event.record.id : event.id) === target.nodeUuid) changed.resolve();
    });
    // By our own clock: the time on the record is that of the replica which was told, and times of day differ and jump.
    let heard: { readonly word: number | undefined; readonly atMs: number } = { word: undefined, atMs: clock.monotonic() };
    let told: number | undefined;
    try {
      for (;;) {
        const { direct } = (await this.deployment(target)) ?? {};
        if (direct === undefined) throw permanent(machineErrors.MACHINE_DIRECT({ reason: 'the deployment is gone' }));
        if (direct.error !== undefined) throw permanent(machineErrors.MACHINE_DIRECT({ reason: direct.error }));
        if (direct.sha256 !== undefined) return direct.sha256;
        if (direct.bytes !== undefined && direct.bytes !== told) {
          told = direct.bytes;
          onProgress({ phase: 'write', bytes: direct.bytes, totalBytes });
        }
        if (direct.heardAt !== heard.word) heard = { word: direct.heardAt, atMs: clock.monotonic() };
        const silentMs = clock.monotonic() - heard.atMs;
        if (silentMs > silenceMs) {
          const seconds = Math.round(silentMs / 1000);
          throw permanent(machineErrors.MACHINE_DIRECT({ reason: `nothing was heard of it for ${seconds} s; is the machine still on?` }));
        }
        const looked = new AbortController();
        await Promise.race([changed.promise, sleep(clock, LOOK_MS, AbortSignal.any([signal, looked.signal]))]).finally(() =>
          looked.abort(),
        );
        signal.throwIfAborted();
        changed = Promise.withResolvers<void>();
      }
    } finally {
      watch.close();
    }
  }

  private async deployment({ nodeUuid, deploymentId }: DeployTarget): Promise<Deployment | undefined> {
    const deployment = (await this.options.store.get(nodeKind, nodeUuid))?.value.deployment;
    return deployment?.id === deploymentId ? deployment : undefined;
  }
}

function permanent(error: Error): Error {
  return Object.assign(error, { permanent: true });
}
