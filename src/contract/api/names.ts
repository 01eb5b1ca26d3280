/** Forms of names and times that several schemas share. */
import { z } from 'zod';
import { unicastMac } from '../addresses.ts';

/** RFC 3339, UTC, milliseconds. */
export const time = z.string().describe('RFC 3339 in UTC, e.g. 2026-11-21T03:04:05.678Z');

/** What people call a machine, an image or an instance: a host name's letters, so that it fits into logs, files and URLs. */
export const name = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
    'must be letters, digits, dots, dashes and underscores, at most 63, starting with a letter or digit',
  );

export const id = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
    'must be letters, digits, dots, dashes and underscores, at most 128, starting with a letter or digit',
  );

/** Any common form; read as `52:54:00:12:34:56`. */
export const macInput = z
  .string()
  .max(32)
  .refine((text) => unicastMac(text) !== undefined, {
    error: 'is no MAC address of a card; write it as 52:54:00:12:34:56 (groups have an odd first byte)',
  })
  .describe('MAC address in any common form');

export const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hexadecimal digits');

/** For verbs that destroy data: one of both must be given. */
export const confirmation = {
  yes: z.boolean().optional().describe('The caller knows what is lost'),
  plan: z.string().max(128).optional().describe('The hash of the plan that the caller has read; it must still be true'),
};
