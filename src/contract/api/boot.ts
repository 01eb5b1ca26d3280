/** What the boot plane of the answering replica sees of the provisioning networks. */
import { z } from 'zod';

export const bootReport = z.object({
  problems: z
    .array(
      z.object({
        kind: z.string().describe('rival-server, address-conflict, unknown-relay, silent-relay, pool-exhausted or unserved-interface'),
        subject: z.string().describe('The server, address, relay or network that it is about'),
        detail: z.string(),
        cure: z.string(),
        mac: z.string().optional(),
        first: z.string(),
        last: z.string(),
        count: z.number().int(),
      }),
    )
    .describe('Last seen last'),
  strangers: z
    .array(
      z.object({
        mac: z.string(),
        uuid: z.string().optional().describe('SMBIOS UUID'),
        arch: z.number().int().optional().describe('Client architecture, DHCP option 93'),
        interface: z.string(),
        relay: z.string().optional(),
        first: z.string(),
        last: z.string(),
        count: z.number().int(),
      }),
    )
    .describe('Machines that nobody has enrolled and that wanted to boot, with [dhcp] unknown_machines = discover'),
  missingLoaders: z.array(z.string()).describe('Why machines of some firmware cannot be booted'),
});

export type BootReport = z.infer<typeof bootReport>;
