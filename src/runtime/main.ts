/**
 * The composition root of bms-core: from its configuration to running roles. Everything real comes in through the options, so the
 * same function starts the daemon, the demo and the tests on a virtual clock.
 */
import { join } from 'node:path';
import { type BmsCoreConfig, defineErrors, entry } from 'cdk8s-baremetal-contract';
import { createApi, FileTokens, isLoopback, MetricsRegistry, type NotificationDesk, readTls, renewTls } from './api/index.ts';
import {
  bootContent,
  createTftpServer,
  DhcpServer,
  directorySource,
  directoryValidator,
  type FileSource,
  httpBootHandler,
  tftpBootSource,
} from './boot/index.ts';
import { type Coordination, openCoordination } from './coordination/index.ts';
import type { Clock } from './core/clock.ts';
import { isoTime } from './core/iso-time.ts';
import type { Logger } from './core/logger.ts';
import type { Network } from './core/network.ts';
import type { Random } from './core/random.ts';
import { deployHelper } from './deploy/helper/index.ts';
import { BootObserver } from './machine/boot-observer.ts';
import { bootTree } from './machine/boot-tree.ts';
import {
  acceptReport,
  BootView,
  claimDeployment,
  FileSecretStore,
  type MachineSettings,
  NoOpFirewallDriver,
  NoOpVifDriver,
  NoOpVolumeDriver,
  PowerAdapter,
  Reconciler,
  ramdiskNotifier,
  type SecretStore,
} from './machine/index.ts';
import { IscsiDeployer } from './machine/iscsi-deployer.ts';
import { leaseRecords } from './machine/lease-records.ts';
import { LocalImageCache, type OpenImage } from './machine/local-image-cache.ts';
import { Outbox } from './outbox/index.ts';
import { IpmiGateway, IpmiPower } from './power/index.ts';
import { openStore, type Store } from './store/index.ts';

export const coreErrors = defineErrors('Starting bms-core', {
  CORE_PORT_TAKEN: entry<{ role: string; where: string; section: string }>({
    message: ({ role, where }) => `${role} cannot listen on ${where}: the port is in use or may not be used`,
    cure: ({ section }) => `Stop what uses it, set another port in [${section}], or run with the right to bind ports below 1024`,
  }),
  CORE_ADDRESS_MISSING: entry<{ role: string; where: string; section: string }>({
    message: ({ role, where }) => `${role} cannot listen on ${where}: no interface of this machine has that address`,
    cure: ({ section }) =>
      `Correct the address in [${section}]; on macOS, other loopback addresses than 127.0.0.1 need "ifconfig lo0 alias ADDRESS" first`,
  }),
  CORE_NO_ADDRESS: entry<{ vip: string }>({
    message: ({ vip }) => `no interface of this machine is on the provisioning network (that of ${vip})`,
    cure: 'Set [dhcp] server_ip to the own address there',
  }),
  CORE_DHCP_RANGE: entry<{ missing: string }>({
    message: ({ missing }) => `[dhcp] mode = server needs ${missing}`,
    cure: 'Set it, or use mode = proxy beside the DHCP server that the network has',
  }),
});

export interface BmsCoreOptions {
  readonly config: BmsCoreConfig;
  /** Name of this replica; the Kubernetes node's. */
  readonly memberName: string;
  /** Own address on the provisioning network. */
  readonly serverAddress: string;
  /** Where secrets and other state of the embedded form lie. */
  readonly stateDirectory: string;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** In place of those that the configuration names. */
  readonly store?: Store;
  readonly coordination?: Coordination;
  readonly secrets?: SecretStore;
  readonly files?: FileSource;
  readonly openImage?: OpenImage;
  readonly settings?: Partial<MachineSettings>;
}

export interface BmsCore {
  readonly store: Store;
  readonly secrets: SecretStore;
  /** What the API listens on; undefined when it is switched off. */
  readonly apiUrl: string | undefined;
  /** Ends every role: machines keep their state and go on where they were at the next start. */
  close(): Promise<void>;
}

/** Initiator name of every replica: a successor's login must end its predecessor's session. RFC 7143 section 4.2.7. */
const INITIATOR_NAME = 'iqn.2026-11.io.bms.baremetal:deploy-helper';

/** Resolves when every role that is switched on is listening. On failure nothing is left running. */
export async function startBmsCore(options: BmsCoreOptions): Promise<BmsCore> {
  const { config, network, clock, random, logger, serverAddress, stateDirectory } = options;
  const closers: (() => unknown)[] = [];
  const closing = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  let reconciling = false;
  try {
    const store = options.store ?? openStore(config.store.url, { clock, password: config.store.password });
    if (!options.store) closers.push(() => store.close());
    const coordination = options.coordination ?? openCoordination(config.sw_coordination.backend_url, { clock });
    if (!options.coordination) closers.push(() => coordination.close());
    const secrets = options.secrets ?? new FileSecretStore(join(stateDirectory, 'secrets'));
    const machines = new BootView({ store, secrets });
    closers.push(() => machines.close());

    const dhcp = dhcpServer(options, store, machines, (exchange) => observer.dhcp(exchange));
    const leaseOf = (address: string) => dhcp?.leaseOf(address);
    const observer: BootObserver = new BootObserver({ store, clock, logger, machines, leaseOf });
    closers.push(() => observer.settled());
    const bootSettings = { http: config.http_boot.enabled };
    const content = bootContent({
      machines,
      files: options.files ?? directorySource(config.tftp.root),
      leaseOf,
      clock,
      settings: bootSettings,
      validatorOf: directoryValidator(config.tftp.root),
      logger,
      onBoot: (exchange) => observer.boot(exchange),
    });

    const gateway = new IpmiGateway({ clock, random, network, logger });
    closers.push(() => gateway.close());
    const power = new PowerAdapter({
      drivers: { ipmi: (access) => new IpmiPower(gateway, { cipherSuite: config.ipmi.cipher_suite as 3 | 17, ...access }) },
      secrets,
      clock,
      logger,
      ipmiPowerRetry: config.ipmi.retry,
    });
    closers.push(() => power.close());
    const images = new LocalImageCache({
      store,
      userImages: config.pxe.user_image_dir,
      deployImages: config.pxe.deploy_image_dir,
      bootRoot: config.tftp.root,
      ...(options.openImage && { openImage: options.openImage }),
    });
    const imagePath = (image: string): string => images.path(image);
    const reconciler = new Reconciler({
      store,
      coordination,
      memberName: options.memberName,
      clock,
      random,
      logger,
      settings: {
        pxeDeployTimeoutMs: config.deploy_helper.deploy_timeout_s * 1000,
        maxWrites: config.deploy_helper.workers,
        ...options.settings,
      },
      ports: {
        power,
        vifs: new NoOpVifDriver(),
        volumes: new NoOpVolumeDriver(),
        firewall: new NoOpFirewallDriver(),
        images,
        bootloader: bootTree({ bootRoot: config.tftp.root }),
        deployer: new IscsiDeployer({
          network,
          clock,
          random,
          logger,
          initiatorName: INITIATOR_NAME,
          localAddress: serverAddress,
          imagePath,
          ...(options.openImage && { openImage: options.openImage }),
        }),
        notifier: ramdiskNotifier({ network, clock, port: config.deploy_helper.port }),
        secrets,
      },
    });

    // planes first: a machine that is resumed may ask at once
    if (dhcp) {
      await listening('DHCP', `${serverAddress}:${config.dhcp.port}/udp`, 'dhcp', () => dhcp.start());
      closers.push(() => dhcp.close());
    }
    if (config.tftp.enabled) {
      const tftp = createTftpServer({
        network,
        clock,
        random,
        logger,
        source: tftpBootSource(content),
        address: config.tftp.address,
        port: config.tftp.port,
        onTransfer: (report) => observer.transfer(report),
      });
      await listening('TFTP', `${config.tftp.address}:${config.tftp.port}/udp`, 'tftp', () => tftp.start());
      closers.push(() => tftp.close());
    }
    if (config.http_boot.enabled) {
      const { address, port } = config.http_boot;
      const server = await listening('HTTP boot', `${address}:${port}`, 'http_boot', () =>
        network.serveHttp({ address, port }, httpBootHandler(content)),
      );
      closers.push(() => server.close());
    }
    if (config.deploy_helper.enabled) {
      const { address, port } = config.deploy_helper;
      const handler = deployHelper({
        claimDeployment: claimDeployment({ store, clock }),
        acceptReport: acceptReport({ store, clock }),
        logger,
      });
      const server = await listening('deploy-helper', `${address}:${port}`, 'deploy_helper', () =>
        network.serveHttp({ address, port }, handler),
      );
      closers.push(() => server.close());
    }
    const metrics = new MetricsRegistry();
    const outbox = outboxOf(options, store, metrics);
    let apiUrl: string | undefined;
    if (config.api.enabled) {
      const { address, tokens_file: tokensFile, rate_limit: rateLimit } = config.api;
      const port = config.DEFAULT.server_port;
      const tls = readTls(config.api.tls_cert, config.api.tls_key);
      const api = createApi({
        store,
        secrets,
        clock,
        random,
        logger,
        machines,
        bootSettings,
        leaseOfMac: (mac) => {
          const address = dhcp?.addressOf(mac);
          return address === undefined ? undefined : dhcp?.leaseOf(address);
        },
        notReady: () => (reconciling ? undefined : 'machines are being looked at for the first time'),
        userImages: config.pxe.user_image_dir,
        rateLimit,
        metrics,
        ...(options.openImage && { openImage: options.openImage }),
        ...(options.settings && { settings: options.settings }),
        ...(tokensFile !== undefined && { tokens: new FileTokens({ path: tokensFile, clock, logger }) }),
        ...(outbox && { notifications: deskOf(outbox, config.center.scheduler_callback ?? '') }),
      });
      await api.start();
      const server = await listening('the API', `${address}:${port}`, 'DEFAULT', () =>
        network.serveHttp({ address, port, ...(tls && { tls }) }, api.handle),
      );
      closers.push(() => server.close());
      closers.push(() => api.close()); // before the server: streams would keep it waiting
      if (tls && server.renewTls) {
        const stop = new AbortController();
        closers.push(() => stop.abort(new Error('the daemon is closing')));
        void renewTls({ files: tls.files, clock, logger, signal: stop.signal }, tls, (renewed) => server.renewTls?.(renewed));
      }
      if (tokensFile === undefined)
        logger.warn({ address, port }, 'no [api] tokens_file: everybody may look, and programs on this machine may change everything');
      else if (!tls && !isLoopback(address)) logger.warn({ address, port }, 'no [api] tls_cert: tokens cross the network in the clear');
      apiUrl = `${tls ? 'https' : 'http'}://${address === '0.0.0.0' ? '127.0.0.1' : address}:${server.local.port}`;
    }
    if (outbox) {
      await outbox.start();
      closers.push(() => outbox.close());
    }
    await reconciler.start();
    closers.push(() => reconciler.close());
    reconciling = true;
    logger.info({ member: options.memberName, address: serverAddress, ...(apiUrl !== undefined && { api: apiUrl }) }, 'bms-core is up');
    return { store, secrets, apiUrl, close: closing };
  } catch (error) {
    await closing();
    throw error;
  }
}

function dhcpServer(
  options: BmsCoreOptions,
  store: Store,
  machines: BootView,
  onExchange: ConstructorParameters<typeof DhcpServer>[0]['onExchange'],
): DhcpServer | undefined {
  const { config, serverAddress, network, clock, logger } = options;
  const { dhcp } = config;
  if (!dhcp.enabled) return undefined;
  if (dhcp.mode === 'server' && dhcp.subnet === undefined) throw coreErrors.CORE_DHCP_RANGE({ missing: 'subnet' });
  const range = dhcp.range_start !== undefined && dhcp.range_end !== undefined ? [{ first: dhcp.range_start, last: dhcp.range_end }] : [];
  return new DhcpServer({
    settings: {
      mode: dhcp.mode,
      interfaces: [{ name: dhcp.interfaces[0] ?? 'provisioning', address: serverAddress }],
      subnets:
        dhcp.subnet === undefined
          ? []
          : [
              {
                cidr: dhcp.subnet,
                pools: range,
                dns: dhcp.dns_servers,
                bootServer: serverAddress,
                ...(dhcp.gateway !== undefined && { gateway: dhcp.gateway }),
              },
            ],
      leaseSeconds: dhcp.lease_time,
      ports: { server: dhcp.port, bootServer: dhcp.proxy_port },
    },
    boot: { http: config.http_boot.enabled, httpPort: config.http_boot.port },
    machines,
    store: leaseRecords(store),
    clock,
    network,
    logger,
    ...(onExchange && { onExchange }),
  });
}

/** Undefined when nobody wants to be told. */
function outboxOf({ config, network, clock, random, logger }: BmsCoreOptions, store: Store, metrics: MetricsRegistry): Outbox | undefined {
  const url = config.center.scheduler_callback;
  if (url === undefined) return undefined;
  const onDelivery = (result: string): void => metrics.add('bms_notification_deliveries_total', { result });
  return new Outbox({ store, network, clock, random, logger, url, maxRetries: config.DEFAULT.max_retries, onDelivery });
}

/** The outbox as the API shows it. */
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

/** Turns the operating system's word about a port into one that says which, and what to do. */
async function listening<T>(role: string, where: string, section: string, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'EADDRNOTAVAIL') throw coreErrors.CORE_ADDRESS_MISSING({ role, where, section }, { cause });
    if (code === 'EADDRINUSE' || code === 'EACCES') throw coreErrors.CORE_PORT_TAKEN({ role, where, section }, { cause });
    throw cause;
  }
}
