/**
 * The composition root of bms-core: from its configuration to running roles. Everything real comes in through the options, so the
 * same function starts the daemon, the demo and the tests on a virtual clock.
 */
import { type BmsCoreConfig, parseNodeName } from 'cdk8s-baremetal-contract';
import { MetricsRegistry } from './api/index.ts';
import type { DhcpInterface, FileSource } from './boot/index.ts';
import { type Coordination, type CoordinationContext, openCoordination } from './coordination/index.ts';
import type { Clock } from './core/clock.ts';
import type { Logger } from './core/logger.ts';
import type { Network } from './core/network.ts';
import type { Random } from './core/random.ts';
import { BootView, type CommandRunner, type MachineSettings, type SecretStore } from './machine/index.ts';
import type { OpenImage } from './machine/local-image-cache.ts';
import { startApi } from './roles/api.ts';
import { startBoot } from './roles/boot.ts';
import { openClusterLeases } from './roles/cluster-leases.ts';
import { INITIATOR_NAME, startDeploy } from './roles/deploy.ts';
import { startMachines } from './roles/machine.ts';
import { startNotifications } from './roles/notifications.ts';
import { startObjects } from './roles/objects.ts';
import { startPower } from './roles/power.ts';
import { type Role, type Surroundings, startRole } from './roles/role.ts';
import { startSecrets } from './roles/secrets.ts';
import { type ApiAccess, observedStore, openStore, type Store } from './store/index.ts';

export { coreErrors } from './roles/errors.ts';

export interface BmsCoreOptions {
  readonly config: BmsCoreConfig;
  /** Name of this replica; the Kubernetes node's. */
  readonly memberName: string;
  /** Own address on the provisioning network. */
  readonly serverAddress: string;
  /** Where DHCP is served, an own socket each. @default on `serverAddress`, by one socket for all networks */
  readonly provisioningInterfaces?: readonly DhcpInterface[];
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
  readonly cluster?: ApiAccess;
  readonly files?: FileSource;
  readonly openImage?: OpenImage;
  readonly runner?: CommandRunner;
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

/** Resolves when every role that is switched on is listening. On failure nothing is left running. */
export function startBmsCore(options: BmsCoreOptions): Promise<BmsCore> {
  return startRole<Omit<BmsCore, 'close'>>(async (closing) => {
    const begin = async <R extends Role>(starting: Promise<R>): Promise<R> => {
      const role = await starting;
      closing(() => role.close());
      return role;
    };
    const surroundings = await open(options, closing);
    let reconciling = false;
    const notReady = (): string | undefined => (reconciling ? undefined : 'machines are being looked at for the first time');

    // planes first: a machine that is resumed may ask at once
    const boot = await begin(startBoot(surroundings));
    const power = await begin(startPower(surroundings));
    const deploy = await begin(startDeploy(surroundings));
    const notifications = await begin(startNotifications(surroundings));
    const api = await begin(startApi(surroundings, { boot, notifications, power, notReady }));
    const machines = await begin(startMachines(surroundings, power, deploy));
    await begin(startObjects(surroundings, machines));
    reconciling = true;

    const { memberName, serverAddress, logger } = options;
    logger.info({ member: memberName, address: serverAddress, ...(api.url !== undefined && { api: api.url }) }, 'bms-core is up');
    return { store: surroundings.store, secrets: surroundings.secrets, apiUrl: api.url };
  });
}

/** What is not handed in is opened as the configuration says, and closed again. */
async function open(options: BmsCoreOptions, closing: (close: () => unknown) => void): Promise<Surroundings> {
  const { config, clock, network, logger, memberName } = options;
  const metrics = new MetricsRegistry();
  const opened =
    options.store ?? openStore(config.store.url, { clock, network, logger, password: config.store.password, scope: scopeOf(memberName) });
  if (!options.store) closing(() => opened.close());
  const store = observedStore(opened, (operation, result) => metrics.add('bms_store_calls_total', { operation, result }));
  const sessionTimeoutMs = config.membership.session_timeout * 1000;
  const coordination =
    options.coordination ?? openCoordination(config.sw_coordination.backend_url, { clock, sessionTimeoutMs, leases: leasesOf(options) });
  if (!options.coordination) closing(() => coordination.close());
  let { secrets } = options;
  if (!secrets) {
    const role = await startSecrets({ ...options, store });
    closing(() => role.close());
    secrets = role.secrets;
  }
  const machines = new BootView({
    store,
    secrets,
    initiatorName: INITIATOR_NAME,
    kernelWords: config.boot.append_params,
    kexec: config.deploy_helper.restart === 'kexec',
  });
  closing(() => machines.close());
  const settings = { ...settingsOf(config, options.serverAddress), ...options.settings };
  return { ...options, store, coordination, secrets, machines, settings, metrics };
}

function leasesOf({ config, cluster, network, clock, random, memberName }: BmsCoreOptions): CoordinationContext['leases'] {
  return {
    random,
    scope: scopeOf(memberName),
    open: (where) =>
      openClusterLeases(where, {
        env: process.env,
        access: cluster,
        network,
        clock,
        random,
        leaseMs: config.membership.session_timeout * 1000,
      }),
  };
}

/** Both management nodes of a pair have the same one; the manifests name it in the store's URL. */
function scopeOf(nodeName: string): string | undefined {
  const place = parseNodeName(nodeName);
  return place && `${place.pod}-${place.site}`;
}

function settingsOf(config: BmsCoreConfig, serverAddress: string): Partial<MachineSettings> {
  const host = serverAddress.includes(':') ? `[${serverAddress}]` : serverAddress;
  return {
    pxeDeployTimeoutMs: config.deploy_helper.deploy_timeout_s * 1000,
    phoneHomeUrl: config.deploy_helper.phone_home_url?.replace(/\/$/, '') ?? `http://${host}:${config.deploy_helper.port}`,
    phoneHomeTimeoutMs: config.deploy_helper.phone_home_timeout_s * 1000,
    maxWrites: config.deploy_helper.workers,
    iqnPrefix: config.volumes.iqn_prefix,
    cleanAfterDestroy: config.cleaning.after_destroy,
  };
}
