/** Images and flavors. */
import { z } from 'zod';
import { id, name, sha256 } from './names.ts';

export const imageFormats = ['raw', 'qcow2'] as const;

export const imageLayouts = ['whole-disk', 'partition'] as const;

export const image = z.object({
  id: z.string(),
  name: z.string(),
  format: z.enum(imageFormats),
  source: z.string().optional().describe('Where its file is, when it is not in [pxe] user_image_dir under its id'),
  checksum: z.string().optional().describe('Of the file at its source, as it is published'),
  sizeBytes: z.number().optional().describe('Of the raw form, as it is on a disk'),
  sha256: z.string().optional().describe('Of the raw form'),
  boot: z.enum(['local', 'kernel']).describe('local: from its own disk; kernel: kernel and ramdisk come over the network'),
  kernelId: z.string().optional(),
  ramdiskId: z.string().optional(),
  layout: z
    .enum(imageLayouts)
    .optional()
    .describe('whole-disk (default): brings its own partition table; partition: is the root file system alone'),
});

export const imageRegistration = z.strictObject({
  id: id.describe('The name of its file in [pxe] user_image_dir'),
  name: name.optional().describe('Default: the id'),
  format: z.enum(imageFormats).optional().describe('Default: what the file is; give it when it must be that, and with a source: unpacked'),
  source: z
    .string()
    .max(2000)
    .regex(/^(?:https?:\/\/|file:\/\/\/|\/)/, 'must be an http(s) URL, a file: URL or an absolute path')
    .refine((text) => !/^[a-z]+:\/\/[^/]*@/i.test(text), 'must not carry a user or a password')
    .optional()
    .describe(
      'Where its file is: a URL, or a path in [pxe] user_image_dir. gzip, zstd and xz are unpacked. Fetched at the first deployment',
    ),
  checksum: z
    .string()
    .regex(/^(?:sha256:[\da-fA-F]{64}|sha512:[\da-fA-F]{128})$/, 'must be sha256: and 64, or sha512: and 128 hexadecimal digits')
    .optional()
    .describe('Of the file at its source, as its publisher gives it; a plain http source needs it, or sha256'),
  sha256: sha256.optional().describe('Of the raw form: registration fails when the file has another one'),
  boot: z.enum(['local', 'kernel']).default('local'),
  kernelId: id.optional(),
  ramdiskId: id.optional(),
  layout: z.enum(imageLayouts).optional(),
});

export const imageList = z.object({ images: z.array(image) });

export const flavor = z.object({
  id: z.string(),
  name: z.string(),
  cpus: z.int(),
  memoryMb: z.int(),
  localGb: z.int(),
  cpuArch: z.string().optional(),
  deployKernelId: z.string().optional(),
  deployRamdiskId: z.string().optional(),
  swapMb: z.int().optional().describe('Of partition images'),
  ephemeralGb: z.int().optional().describe('Of partition images'),
  extraSpecs: z.record(z.string(), z.string()).optional().describe("What a machine must be, in nova's words"),
});

export const flavorRegistration = z
  .strictObject({
    id,
    name: name.optional().describe('Default: the id'),
    cpus: z.int().nonnegative(),
    memoryMb: z.int().nonnegative(),
    localGb: z.int().nonnegative(),
    cpuArch: z.string().min(1).max(32).optional(),
    deployKernelId: id.optional(),
    deployRamdiskId: id.optional(),
    swapMb: z.int().nonnegative().optional(),
    ephemeralGb: z.int().nonnegative().optional(),
    extraSpecs: z.record(z.string().min(1).max(64), z.string().max(255)).optional(),
  })
  .refine(({ deployKernelId, deployRamdiskId }) => (deployKernelId === undefined) === (deployRamdiskId === undefined), {
    error: 'deployKernelId and deployRamdiskId come together',
  });

export const flavorList = z.object({ flavors: z.array(flavor) });

export type ImageView = z.infer<typeof image>;
export type ImageRegistration = z.infer<typeof imageRegistration>;
export type FlavorView = z.infer<typeof flavor>;
export type FlavorRegistration = z.infer<typeof flavorRegistration>;
