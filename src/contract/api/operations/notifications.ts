/** Notifications to bms_control. */
import { noBody } from '../node.ts';
import { notificationState } from '../notification.ts';
import type { Operation } from './operation.ts';

export const notificationsOperations = {
  listNotifications: {
    method: 'GET',
    path: '/v1/notifications',
    role: 'reader',
    tag: 'notifications',
    summary: 'Notifications to [center] scheduler_callback that wait, and those that were given up',
    status: 200,
    answer: notificationState,
    refusals: [],
  },
  retryNotification: {
    method: 'POST',
    path: '/v1/notifications/:notification/retry',
    role: 'admin',
    tag: 'notifications',
    summary: 'Send one that was given up again',
    body: noBody,
    bodyOptional: true,
    status: 202,
    refusals: [404],
  },
  dropNotification: {
    method: 'DELETE',
    path: '/v1/notifications/:notification',
    role: 'admin',
    tag: 'notifications',
    summary: 'Forget one that was given up',
    status: 204,
    refusals: [404],
  },
} as const satisfies Record<string, Operation>;
