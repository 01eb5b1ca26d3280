/** What an inspection ramdisk found, as it posts it. Everything is optional but the interfaces: hardware differs, and so do ramdisks. */
import { z } from 'zod';
import { decodeLldp } from './lldp.ts';

const text = z.string().max(200);
const words = z.string().max(600);
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
        /** What LLDP said of the other end: chassis and port. */
        switchId: words.optional(),
        switchPort: words.optional(),
        /** The rest of it. Sizes in characters are those of 802.1AB in bytes. */
        lldp: z
          .looseObject({
            systemName: words.optional(),
            systemDescription: words.optional(),
            portDescription: words.optional(),
            managementAddresses: z.array(text).optional(),
            portVlan: z.number().int().optional(),
            managementVlan: z.number().int().optional(),
          })
          .optional(),
        /** Why a frame that was heard says nothing. */
        lldpRefused: text.optional(),
      }),
    )
    .min(1)
    .max(256),
});
export type HardwareFacts = z.infer<typeof hardwareFacts>;

/** An Ethernet frame of the largest ordinary size, in hexadecimal. */
const MOST_FRAME_CHARACTERS = 2 * 1522;

/**
 * The ramdisk posts what it heard as it came from the wire, hexadecimal under `lldpFrame`: here it becomes the name of a switch and a port. A frame that
 * makes no sense costs its own meaning, not the inspection.
 */
export function readLldp(facts: HardwareFacts): HardwareFacts {
  return { ...facts, interfaces: facts.interfaces.map(withNeighbour) };
}

function withNeighbour({ lldpFrame, ...heard }: HardwareFacts['interfaces'][number]): HardwareFacts['interfaces'][number] {
  if (lldpFrame === undefined) return heard;
  if (typeof lldpFrame !== 'string' || lldpFrame.length > MOST_FRAME_CHARACTERS || !/^(?:[0-9a-f]{2})*$/i.test(lldpFrame))
    return { ...heard, lldpRefused: 'it is no Ethernet frame in hexadecimal' };
  const decoded = decodeLldp(Buffer.from(lldpFrame, 'hex'));
  if (decoded.kind === 'invalid') return { ...heard, lldpRefused: decoded.reason };
  const { chassisId: switchId, portId: switchPort, ttlSeconds, ...lldp } = decoded.neighbour;
  if (ttlSeconds === 0) return { ...heard, lldpRefused: 'the neighbour said that it leaves' };
  return { ...heard, switchId, switchPort, lldp };
}
