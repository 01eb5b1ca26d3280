import { z } from 'zod';

/** Every refusal: what is wrong with the offending value in it, and what to do. `code` is stable; docs/errors.md lists them. */
export const problem = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    cure: z.string(),
    /** Of a refusal by several: each machine's reason, each field's fault. */
    details: z.array(z.object({ what: z.string(), why: z.string() })).optional(),
  }),
});
export type Problem = z.infer<typeof problem>;
