/** What an inspection ramdisk found, as it posts it. Everything is optional but the interfaces: hardware differs, and so do ramdisks. */
import { z } from 'zod';

const text = z.string().max(200);
const size = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);

export const hardwareFacts = z.looseObject({
  cpus: z.number().int().positive().max(65_536).optional(),
  memoryMb: size.optional(),
  cpuArch: text.optional(),
  /** SMBIOS: system manufacturer, product and serial number. */
  manufacturer: text.optional(),
  product: text.optional(),
  serial: text.optional(),
  firmware: z.enum(['bios', 'uefi']).optional(),
  disks: z
    .array(
      z.looseObject({
        /** Below /dev. */
        name: text,
        sizeBytes: size,
        serial: text.optional(),
        model: text.optional(),
        rotational: z.boolean().optional(),
      }),
    )
    .max(256)
    .default([]),
  interfaces: z
    .array(
      z.looseObject({
        name: text,
        mac: z.string().regex(/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/),
        linkUp: z.boolean().optional(),
        /** What LLDP said of the other end. */
        switchId: text.optional(),
        switchPort: text.optional(),
      }),
    )
    .min(1)
    .max(256),
});
export type HardwareFacts = z.infer<typeof hardwareFacts>;
