/**
 * What a machine's record holds of one deployment, and of a ramdisk that was started for something else: the key, what the ramdisk said, how far the writing
 * is. Parts of the record (`node-record.ts`), since they change together with its state.
 */
import { z } from 'zod';
import { hardwareFacts } from '../deploy/helper/facts.ts';

/** Wall clock, ms. */
export const time = z.number().int().nonnegative();
export const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

export const diskIdentity = z.looseObject({
  /** As the disk reports it (INQUIRY page 0x80); absent where a target has none. */
  serial: z.string().optional(),
  sizeBytes: z.number().int().positive(),
  /** In which its partition table counts, where a ramdisk that writes by itself told it. Default 512. */
  blockBytes: z.number().int().positive().optional(),
  /** Install generation that the disk itself carries, where it can. */
  generation: z.number().int().nonnegative().optional(),
  /** Deployment that wrote it, where the disk carries it. */
  deploymentId: z.string().optional(),
  /** What was on it before anything was written, in words; absent when it was empty. */
  holds: z.string().optional(),
});

/** A ramdisk's permission to report, once: for a deployment, and for inspection, cleaning and rescue. */
const keyShape = {
  id: z.string().min(1),
  iqn: z.string().min(1),
  /** SHA-256 of the deployment key while it may be used; gone at its first use. */
  keyHash: sha256.optional(),
  /** The same hash after its use, so that a second use is told from a wrong key. */
  usedKeyHash: sha256.optional(),
  expiresAt: time,
  /** The only address that may use the key: the lease of the machine (N4). */
  allowedAddress: z.string().optional(),
  /** The ramdisk's POST as accepted: where its disk is exported. */
  claim: z
    .looseObject({
      address: z.string(),
      port: z.number().int(),
      lun: z.number().int(),
      at: time,
      /** Of a ramdisk that writes by itself (`direct`) and exports nothing: the disk that it chose. */
      disk: diskIdentity.pick({ serial: true, sizeBytes: true, blockBytes: true, holds: true }).optional(),
    })
    .optional(),
  /** What the ramdisk reported in `e` (N1). */
  reportedError: z.string().optional(),
};

/** Where a partition image says nothing of its partitions: the root takes what the swap leaves. MiB. */
export const DEFAULT_PARTITIONS = { rootMb: 0, swapMb: 1, ephemeralMb: 0 } as const;

const progress = z.looseObject({
  phase: z.enum(['write', 'verify']).optional(),
  bytes: z.number().nonnegative(),
  totalBytes: z.number().nonnegative().optional(),
  /** Since this owner began, and what is left at that rate. */
  bytesPerSecond: z.number().nonnegative().optional(),
  remainingMs: z.number().nonnegative().optional(),
  at: time,
});

export const deploymentShape = {
  ...keyShape,
  /** Install generation that this deployment writes. */
  generation: z.number().int().positive(),
  imageId: z.string().min(1),
  image: z.looseObject({
    sizeBytes: z.number().int().nonnegative().optional(),
    sha256: sha256.optional(),
    /** `local`: the image boots itself from the disk; `kernel`: kernel and ramdisk come over the network at every boot. */
    boot: z.enum(['local', 'kernel']),
    /** `whole-disk`: the image brings its own partition table; `partition`: it is the root file system alone. */
    layout: z.enum(['whole-disk', 'partition']).optional(),
    /** Of a partition image: sizes in MiB; a root of 0 takes what the others leave. */
    partitions: z
      .looseObject({
        rootMb: z.number().int().nonnegative(),
        swapMb: z.number().int().nonnegative(),
        ephemeralMb: z.number().int().nonnegative(),
      })
      .optional(),
    preserveEphemeral: z.boolean().optional(),
    /** `iscsi` (default): the deploy-helper writes to the exported disk; `direct`: the ramdisk pulls the image. */
    method: z.enum(['iscsi', 'direct']).optional(),
    /** What the instance is told (its name, network, keys, user data), as files of a partition of their own, labelled `config-2` or `cidata`. */
    configDrive: z.object({ label: z.string(), files: z.array(z.object({ path: z.string(), content: z.string() })) }).optional(),
  }),
  /** Of the method `direct`: what the ramdisk said of its work. */
  direct: z
    .looseObject({
      /** SHA-256 of the token that reads the image. */
      tokenHash: sha256,
      bytes: z.number().nonnegative().optional(),
      heardAt: time.optional(),
      /** Of the image that it says it has written. */
      sha256: sha256.optional(),
      doneAt: time.optional(),
      error: z.string().optional(),
    })
    .optional(),
  disk: diskIdentity.optional(),
  progress: progress.optional(),
  /** Chunks of the image (SHA-256 of its raw form) that the disk has for good: where a later run goes on. */
  synced: z.looseObject({ sha256, chunks: z.number().int().nonnegative(), at: time }).optional(),
  written: z
    .looseObject({
      bytes: z.number().nonnegative(),
      sha256,
      /** The root file system as a kernel is told of it, e.g. `UUID=…`; of an image that boots by kernel. */
      root: z.string().optional(),
      at: time,
    })
    .optional(),
  /** The instance's own word that it is up, where ACTIVE waits for it. */
  phoneHome: z
    .looseObject({
      url: z.string(),
      /** SHA-256 of its token while that may be used; gone at its first use. */
      tokenHash: sha256.optional(),
      /** The same hash after its use, so that a second use is told from a wrong token. */
      usedTokenHash: sha256.optional(),
      /** The end of the wait. */
      untilAt: time.optional(),
      heardAt: time.optional(),
      address: z.string().optional(),
    })
    .optional(),
  /** When the ramdisk was told "done", or the machine restarted in its place. */
  releasedAt: time.optional(),
};

/** What a ramdisk is started for beside a deployment. Also a `deployment` record as far as its key goes. */
export const ramdiskShape = {
  ...keyShape,
  purpose: z.enum(['inspect', 'clean', 'rescue']),
  progress: progress.optional(),
  /** What it found (inspection), as posted and checked. */
  facts: hardwareFacts.optional(),
};

export const deployment = z.object(deploymentShape);
export const ramdisk = z.object(ramdiskShape);

export type Deployment = z.infer<typeof deployment>;
export type RamdiskSession = z.infer<typeof ramdisk>;
export type DiskIdentity = z.infer<typeof diskIdentity>;
