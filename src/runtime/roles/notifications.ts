/** The callback to bms_control: an outbox that survives restarts. */
import type { NotificationDesk } from '../api/index.ts';
import { isoTime } from '../core/iso-time.ts';
import { Outbox } from '../outbox/index.ts';
import { type Role, type Surroundings, startRole } from './role.ts';

export interface NotificationRole extends Role {
  /** As the API shows it; undefined when nobody wants to be told. */
  readonly desk: NotificationDesk | undefined;
}

export function startNotifications({ config, store, network, clock, random, logger, metrics }: Surroundings): Promise<NotificationRole> {
  return startRole<Omit<NotificationRole, 'close'>>(async (closing) => {
    const url = config.center.scheduler_callback;
    if (url === undefined) return { desk: undefined };
    const onDelivery = (result: string): void => metrics.add('bms_notification_deliveries_total', { result });
    const outbox = new Outbox({ store, network, clock, random, logger, url, maxRetries: config.DEFAULT.max_retries, onDelivery });
    await outbox.start();
    closing(() => outbox.close());
    return { desk: deskOf(outbox, url) };
  });
}

function deskOf(outbox: Outbox, callback: string): NotificationDesk {
  return {
    callback,
    retry: (id) => outbox.retry(id),
    drop: (id) => outbox.drop(id),
    state: async () => {
      const { pending, dead } = await outbox.state();
      return { pending, dead: dead.map((one) => ({ ...one, gaveUpAt: isoTime(one.gaveUpAt) })) };
    },
  };
}
