/** What machines are made into and chosen by: images and flavors, as stored. Fields of a newer program are kept as they are. */
import { z } from 'zod';
import type { Kind } from '../store/index.ts';
import { sha256 } from './deployment-record.ts';

const imageShape = {
  id: z.string().min(1),
  name: z.string(),
  format: z.enum(['raw', 'qcow2']),
  /** Where its file is: an http(s) URL, or a path in an image directory. Default: the file named by its id in [pxe] user_image_dir. */
  source: z.string().min(1).optional(),
  /** Of the file at `source` as its publisher gives it: `sha256:…` or `sha512:…`. */
  checksum: z.string().min(1).optional(),
  sizeBytes: z.number().int().positive().optional(),
  sha256: sha256.optional(),
  /** `local`: the image boots itself from the disk; `kernel`: kernel and ramdisk come from the network at every boot. */
  boot: z.enum(['local', 'kernel']).default('local'),
  kernelId: z.string().optional(),
  ramdiskId: z.string().optional(),
  /** `whole-disk` (default): brings its own partition table; `partition`: is the root file system alone. */
  layout: z.enum(['whole-disk', 'partition']).optional(),
};
const image = z.object(imageShape);
const looseImage = z.looseObject(imageShape);
export type ImageRecord = z.infer<typeof image>;
export const imageKind: Kind<ImageRecord> = { name: 'image', parse: (value) => looseImage.parse(value) };

const flavorShape = {
  id: z.string().min(1),
  name: z.string(),
  cpus: z.number().int().nonnegative(),
  memoryMb: z.number().int().nonnegative(),
  localGb: z.number().int().nonnegative(),
  cpuArch: z.string().optional(),
  deployKernelId: z.string().optional(),
  deployRamdiskId: z.string().optional(),
  /** Of partition images: the swap partition (at least 1 MiB, as in the original) and the ephemeral one. */
  swapMb: z.number().int().nonnegative().optional(),
  ephemeralGb: z.number().int().nonnegative().optional(),
  /** What a machine must be beyond its size, in nova's words: see scheduler/extra-specs.ts. */
  extraSpecs: z.record(z.string(), z.string()).optional(),
};
const flavor = z.object(flavorShape);
const looseFlavor = z.looseObject(flavorShape);
export type FlavorRecord = z.infer<typeof flavor>;
export const flavorKind: Kind<FlavorRecord> = { name: 'flavor', parse: (value) => looseFlavor.parse(value) };
