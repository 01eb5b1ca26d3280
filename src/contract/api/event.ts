/** What GET /v1/events sends: server-sent events whose data is JSON of one of these. */
import { z } from 'zod';
import { nodeSummary } from './node.ts';

const node = z.object({ uuid: z.string(), name: z.string() });

export const apiEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('node'), node: nodeSummary }).describe('A machine as it is now: first in a stream, and after each change'),
  z
    .object({
      type: z.literal('transition'),
      node,
      from: z.string(),
      to: z.string(),
      reason: z.string(),
      at: z.string(),
      durationMs: z.number(),
    })
    .describe('A machine went from one state to another'),
  z
    .object({ type: z.literal('seen'), node, what: z.string(), detail: z.string().optional(), at: z.string() })
    .describe('Something was observed of a machine'),
  z.object({ type: z.literal('removed'), node }).describe('A machine is no longer enrolled'),
  z
    .object({ type: z.literal('reset'), reason: z.string() })
    .describe('What was missed is not kept; `node` events with the present state of every machine follow'),
]);
export type ApiEvent = z.infer<typeof apiEvent>;
