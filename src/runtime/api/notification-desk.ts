import type { DeadLetter } from 'cdk8s-baremetal-contract/api/index';

/** The outbox as the API sees it; main.ts links them. */
export interface NotificationDesk {
  readonly callback: string;
  state(): Promise<{ readonly pending: number; readonly dead: readonly DeadLetter[] }>;
  /** False: there is none of this id among those that were given up. */
  retry(id: string): Promise<boolean>;
  drop(id: string): Promise<boolean>;
}
