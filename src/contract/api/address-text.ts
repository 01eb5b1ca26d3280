import { z } from 'zod';

/** An address, never a name: who answers at it must not change with somebody's name server. */
export const ipAddressText = z.union([z.ipv4(), z.ipv6()], { error: 'must be an IP address' });

/** nova's iBoot form, `address[:port][,relay]`, or a URL whose scheme names the driver; docs/power.md has them. Never with a password in it. */
const powerUrl = z
  .string()
  .max(512)
  .regex(/^(?:ipmi|redfish|iboot|virtual\+ssh|virtual\+exec):\/\/[^\s\\"'`$]+$/)
  .refine((text) => !/:\/\/[^/@]*:[^/@]*@/.test(text));
const novaIBoot = z.string().regex(/^\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?,\d{1,2}$/);

export const bmcAddressText = z.union([ipAddressText, novaIBoot, powerUrl], {
  error:
    'must be an IP address, ADDRESS[:PORT],RELAY of an iBoot, or ipmi://, redfish://, iboot://, virtual+ssh://, virtual+exec:// without a password',
});
