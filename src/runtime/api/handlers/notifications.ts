import type { HandlersOf } from '../call.ts';
import { apiErrors, Refusal } from '../errors.ts';
import type { HandlerContext } from './context.ts';

export function notificationHandlers({
  notifications,
}: HandlerContext): HandlersOf<'listNotifications' | 'retryNotification' | 'dropNotification'> {
  const known = (id: string, found: boolean | undefined): void => {
    if (!found) throw new Refusal(apiErrors.API_NO_NOTIFICATION({ id }));
  };
  return {
    listNotifications: async () => {
      const state = await notifications?.state();
      return { answer: { callback: notifications?.callback ?? null, pending: state?.pending ?? 0, dead: [...(state?.dead ?? [])] } };
    },
    retryNotification: async ({ parameters }) => {
      known(parameters.notification, await notifications?.retry(parameters.notification));
      return {};
    },
    dropNotification: async ({ parameters }) => {
      known(parameters.notification, await notifications?.drop(parameters.notification));
      return {};
    },
  };
}
