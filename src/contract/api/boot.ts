/** What the boot plane of the answering replica sees of the provisioning networks. */
import { z } from 'zod';

export const discoveredEntry = z.object({
  name: z.string(),
  macs: z.array(z.string()),
  uuid: z.string().optional().describe('SMBIOS UUID'),
  arch: z.number().int().optional().describe('Client architecture, DHCP option 93'),
  interface: z.string(),
  relay: z.string().optional(),
  since: z.string(),
});

export const bootReport = z.object({
  problems: z
    .array(
      z.object({
        kind: z
          .string()
          .describe('rival-server, address-conflict, unknown-relay, silent-relay, pool-exhausted, unserved-interface or discovery-limited'),
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
    .describe(
      'Who wanted to boot without being enrolled, as this replica heard it since its start, with [dhcp] unknown_machines = discover',
    ),
  discovered: z
    .array(discoveredEntry)
    .describe('Machines that were enrolled by their own request, and wait for somebody to say where their BMC is'),
  missingLoaders: z.array(z.string()).describe('Why machines of some firmware cannot be booted'),
});

export type DiscoveredEntry = z.infer<typeof discoveredEntry>;
export type BootReport = z.infer<typeof bootReport>;
