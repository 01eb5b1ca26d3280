/** What the handlers stand on. */
import type { BootReport } from 'cdk8s-baremetal-contract/api/index';
import type { BootLease, BootMachines, BootSettings } from '../../boot/index.ts';
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { Random } from '../../core/random.ts';
import type { OpenImage } from '../../machine/local-image-cache.ts';
import type { SecretStore } from '../../machine/secrets.ts';
import type { MachineSettings } from '../../machine/settings.ts';
import type { Store } from '../../store/index.ts';
import type { EventHub } from '../event-hub.ts';
import type { MetricsRegistry } from '../metrics-registry.ts';
import type { NodeIndex } from '../node-index.ts';
import type { NotificationDesk } from '../notification-desk.ts';
import type { BmcDesk } from './bmcs.ts';

export interface HandlerContext {
  readonly store: Store;
  readonly secrets: SecretStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly index: NodeIndex;
  readonly hub: EventHub;
  readonly metrics: MetricsRegistry;
  readonly machines: BootMachines;
  readonly bootSettings: BootSettings;
  readonly leaseOfMac: (mac: string) => BootLease | undefined;
  /** What the boot plane noticed; absent where it does not run. */
  readonly bootReport?: (() => Promise<BootReport>) | undefined;
  /** What it saw of an interface, a line each. */
  readonly bootSeen?: ((mac: string) => readonly string[]) | undefined;
  readonly notReady: () => string | undefined;
  /** [pxe] user_image_dir */
  readonly userImages: string;
  readonly openImage: OpenImage;
  readonly settings: MachineSettings;
  readonly notifications: NotificationDesk | undefined;
  readonly bmcs?: BmcDesk | undefined;
  /** Version of the contract, in the OpenAPI document. */
  readonly version: string;
}
