/** What is POSTed to [center] scheduler_callback, bms_control's address. The original's payload is not known: this form is ours. */
import { z } from 'zod';

export const NOTIFICATION_ID_HEADER = 'x-notification-id';

export const notification = z.object({
  id: z.string().describe('Also in the header x-notification-id. The same notification keeps its id however often it comes'),
  task_id: z.string().describe("The instance's uuid, which whoever asked for it may choose; the machine's where there is no instance"),
  node_uuid: z.string(),
  node_name: z.string(),
  instance_uuid: z.string().nullable(),
  state: z.string().describe('The state that the machine has reached'),
  previous_state: z.string(),
  reason: z.string(),
  at: z.string().describe('RFC 3339: when it reached the state'),
});
export type Notification = z.infer<typeof notification>;

/** A notification that was given up. */
export const deadLetter = z.object({ notification, attempts: z.int(), error: z.string(), gaveUpAt: z.string() });
export const notificationState = z.object({
  callback: z.string().nullable().describe('Where notifications go; null: nobody is told'),
  pending: z.int(),
  dead: z.array(deadLetter),
});
export type DeadLetter = z.infer<typeof deadLetter>;
