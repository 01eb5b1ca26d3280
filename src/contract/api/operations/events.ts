/** Events. */
import { z } from 'zod';
import type { Operation } from './operation.ts';

export const eventsOperations = {
  events: {
    method: 'GET',
    path: '/v1/events',
    role: 'reader',
    tag: 'events',
    summary: 'Server-sent events; Last-Event-ID resumes',
    query: z.object({
      node: z.string().max(128).optional().describe('Of this machine only'),
      once: z
        .enum(['true', 'false'])
        .optional()
        .describe('End the answer after the first events, or when a heartbeat is due: for clients that cannot read a stream'),
    }),
    status: 200,
    media: 'text/event-stream',
    refusals: [404, 503],
  },
} as const satisfies Record<string, Operation>;
