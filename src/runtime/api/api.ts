/** bms-core's HTTP API on server_port: a function from request to response, made of the contract's operations and their handlers. */
import { CONTRACT_VERSION } from 'cdk8s-baremetal-contract';
import type { BootReport } from 'cdk8s-baremetal-contract/api/index';
import type { BootLease, BootMachines, BootSettings } from '../boot/index.ts';
import { type Clock, withDeadline } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { HttpHandler } from '../core/network.ts';
import type { Random } from '../core/random.ts';
import { openImage } from '../deploy/image/index.ts';
import type { OpenImage } from '../machine/local-image-cache.ts';
import type { SecretStore } from '../machine/secrets.ts';
import { defaultSettings, type MachineSettings } from '../machine/settings.ts';
import type { Store } from '../store/index.ts';
import type { Handlers } from './call.ts';
import { EventHub } from './event-hub.ts';
import { Gate } from './gate.ts';
import { type BmcDesk, bmcHandlers } from './handlers/bmcs.ts';
import { bootHandlers } from './handlers/boot.ts';
import { catalogHandlers } from './handlers/catalog.ts';
import type { HandlerContext } from './handlers/context.ts';
import { daemonHandlers } from './handlers/daemon.ts';
import { eventHandlers, publish } from './handlers/events.ts';
import { instanceHandlers } from './handlers/instances.ts';
import { nodeHandlers } from './handlers/nodes.ts';
import { notificationHandlers } from './handlers/notifications.ts';
import { novaHandlers } from './handlers/nova.ts';
import { verbHandlers } from './handlers/verbs.ts';
import { IdempotencyKeys } from './idempotency.ts';
import { MetricsRegistry } from './metrics-registry.ts';
import { NodeIndex } from './node-index.ts';
import type { NotificationDesk } from './notification-desk.ts';
import { routesOf } from './pipeline.ts';
import { router } from './router.ts';
import type { TokenSource } from './tokens.ts';

export interface ApiOptions {
  readonly store: Store;
  readonly secrets: SecretStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly machines: BootMachines;
  readonly bootSettings: BootSettings;
  /** The lease of an interface, when the DHCP service knows one. */
  readonly leaseOfMac: (mac: string) => BootLease | undefined;
  /** What the boot plane noticed of the networks. @default nothing */
  readonly bootReport?: () => Promise<BootReport>;
  /** What it saw of an interface, a line each. */
  readonly bootSeen?: (mac: string) => readonly string[];
  /** Undefined: ready. Otherwise why not. */
  readonly notReady: () => string | undefined;
  /** [pxe] user_image_dir */
  readonly userImages: string;
  readonly openImage?: OpenImage;
  /** Absent: everybody may look, programs on this machine may change. */
  readonly tokens?: TokenSource;
  /** Requests per second of one caller. Default 0: no limit. */
  readonly rateLimit?: number;
  readonly notifications?: NotificationDesk;
  /** Absent: no BMC is asked here. */
  readonly bmcs?: BmcDesk;
  readonly settings?: Partial<MachineSettings>;
  /** Default: one of its own. */
  readonly metrics?: MetricsRegistry;
}

export interface Api {
  readonly handle: HttpHandler;
  readonly metrics: MetricsRegistry;
  /** Resolves when every machine is known; without it the first request waits for that. */
  start(): Promise<void>;
  /** Ends the event streams. */
  close(): void;
}

export function createApi(options: ApiOptions): Api {
  const { store, clock, random, logger, tokens, rateLimit = 0, metrics = new MetricsRegistry() } = options;
  const index = new NodeIndex({ store, logger });
  const hub = new EventHub(Buffer.from(random.bytes(6)).toString('base64url').replaceAll('.', '-'));
  const context: HandlerContext = {
    ...options,
    index,
    hub,
    metrics,
    openImage: options.openImage ?? openImage,
    notifications: options.notifications,
    settings: { ...defaultSettings, ...options.settings },
    version: CONTRACT_VERSION,
  };
  index.onChange((change) => {
    publish(hub, change);
    for (const { from, to, durationMs } of change.transitions) {
      metrics.add('bms_node_transitions_total', { from, to });
      metrics.observe('bms_node_state_seconds', { state: from }, durationMs / 1000);
    }
  });
  metrics.collect(() => collect(context));
  const handlers: Handlers = {
    ...daemonHandlers(context),
    ...nodeHandlers(context),
    ...bootHandlers(context),
    ...verbHandlers(context),
    ...catalogHandlers(context),
    ...instanceHandlers(context),
    ...eventHandlers(context),
    ...notificationHandlers(context),
    ...bmcHandlers(context),
    ...novaHandlers(context),
  };
  const gate = new Gate({ clock, tokens, rateLimit });
  const keys = new IdempotencyKeys({ store, clock });
  return {
    handle: router(routesOf(handlers, { gate, keys, metrics, clock, random, logger }), logger),
    metrics,
    start: () => index.ready(),
    close: () => {
      hub.close();
      index.close();
    },
  };
}

/** The handler alone. */
export function api(options: ApiOptions): HttpHandler {
  return createApi(options).handle;
}

/** Well below the 10 s that Prometheus waits for a page. */
const STATE_LIMIT_MS = 3_000;
const late = (): Error => new Error('the store has not answered in time');

async function collect({ index, metrics, clock, notifications, version }: HandlerContext): Promise<void> {
  const nodes = index.list();
  const now = clock.now();
  metrics.set('bms_build_info', { contract_version: version }, 1);
  metrics.clear('bms_nodes');
  const states = new Map<string, number>();
  for (const { summary } of nodes) states.set(summary.state, (states.get(summary.state) ?? 0) + 1);
  for (const [state, count] of states) metrics.set('bms_nodes', { state }, count);
  metrics.set('bms_nodes_maintenance', {}, nodes.filter(({ summary }) => summary.maintenance).length);
  metrics.set('bms_nodes_overdue', {}, nodes.filter(({ deadline }) => deadline !== undefined && deadline < now).length);
  metrics.set('bms_node_records_invalid', {}, index.invalid);
  // with the store away, what is known of the rest is wanted all the more: these two keep their last values
  const state = notifications && (await withDeadline(clock, STATE_LIMIT_MS, late, () => notifications.state()).catch(() => undefined));
  if (state) {
    metrics.set('bms_notifications_pending', {}, state.pending);
    metrics.set('bms_notifications_dead', {}, state.dead.length);
  }
  const { rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  metrics.set('process_resident_memory_bytes', {}, rss);
  metrics.set('process_cpu_seconds_total', {}, (user + system) / 1e6);
}
