import { z } from 'zod';

const time = z.iso.datetime();

/** How it stands with one BMC, as the answering replica knows it. */
export const bmcStatus = z.object({
  bmc: z.string().describe('address:port'),
  nodes: z.array(z.string()).describe('Machines that it belongs to'),
  user: z.string(),
  state: z
    .enum(['new', 'answering', 'silent', 'resting', 'stopped'])
    .describe(
      'resting: left alone after silence; stopped: it refused the credentials, and nothing is sent until they change or somebody says retry',
    ),
  session: z.boolean(),
  cipherSuite: z.int().optional(),
  waiting: z.int().describe('Commands in the queue'),
  answeredAt: time.optional(),
  probeAt: time.optional().describe('When one lone try may go to a stopped BMC'),
  lastError: z.object({ code: z.string(), message: z.string(), at: time }).optional(),
});

export const bmcList = z.object({ bmcs: z.array(bmcStatus) });
export const bmcRetried = z.object({ bmc: z.string() });

export type BmcStatusAnswer = z.infer<typeof bmcStatus>;
