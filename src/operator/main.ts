/** Wires the operator: client, controllers, leader election, and the port where it tells how it is. */
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { Logger } from 'cdk8s-baremetal-runtime/core/logger';
import type { Endpoint, Network } from 'cdk8s-baremetal-runtime/core/network';
import type { Random } from 'cdk8s-baremetal-runtime/core/random';
import { randomUuid } from 'cdk8s-baremetal-runtime/core/random';
import { createEventRecorder } from './engine/events.ts';
import { healthHandler } from './engine/health.ts';
import { httpApi } from './engine/http-api.ts';
import type { Informer } from './engine/informer.ts';
import type { LeaderElectionOptions } from './engine/leader-election.ts';
import { createManager, type Manager, type ManagerState } from './engine/manager.ts';
import { createMetrics } from './engine/metrics.ts';
import type { Transport } from './engine/transport.ts';
import { untilAnswered } from './engine/until-answered.ts';
import { type ClusterController, createClusterController } from './onecloud/cluster-controller.ts';
import type { Databases } from './onecloud/databases.ts';
import type { Identity } from './onecloud/identity.ts';

export interface OperatorOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly network: Network;
  readonly podName: string;
  /** Where its Lease is. */
  readonly podNamespace: string;
  /** Namespaces whose clusters it cares for; empty: all. */
  readonly watchNamespaces: readonly string[];
  /** Image of the init containers of clusters; the release's own when absent. */
  readonly image?: string;
  /** Makes the clusters' databases and accounts. Absent: somebody else does. */
  readonly databases?: Databases;
  /** Makes their accounts and endpoints in Keystone. Absent: somebody else does. */
  readonly identity?: Identity;
  /** At the API server, twice that for a moment. Default 50. */
  readonly requestsPerSecond?: number;
  /** Of /healthz, /readyz and /metrics. */
  readonly listen: { readonly address?: string; readonly port: number };
  /** Only for tests that cannot wait for the defaults. */
  readonly electionTimes?: Pick<LeaderElectionOptions, 'leaseDurationMs' | 'renewDeadlineMs' | 'retryPeriodMs'>;
}

export interface Operator {
  readonly local: Endpoint;
  /** Resolves when it was told to stop and has stopped; rejects when something broke that a new start may cure. */
  readonly ended: Promise<void>;
}

/** Length of its grace period (45 s) less the time that the reconciles left behind and the Lease may take. */
const DRAIN_MS = 30_000;

/** Clusters worked on at once, in however many namespaces. */
const AT_ONCE = 8;

/** Resolves when it listens; works as soon as the API server answers. `signal` stops it. */
export async function startOperator(options: OperatorOptions, signal: AbortSignal): Promise<Operator> {
  const {
    transport,
    clock,
    random,
    logger,
    network,
    podName,
    podNamespace,
    watchNamespaces,
    image,
    listen,
    electionTimes,
    databases,
    identity,
    requestsPerSecond = 50,
  } = options;
  const metrics = createMetrics();
  const api = httpApi({ transport, clock, metrics, throttle: { perSecond: requestsPerSecond, burst: 2 * requestsPerSecond } });
  const common = { api, clock, random, logger, metrics };
  const events = createEventRecorder({ api, clock, logger, controller: 'onecloud.yunion.io/operator', instance: podName });
  const places = watchNamespaces.length === 0 ? [{}] : watchNamespaces.map((namespace) => ({ namespace }));
  const shared = {
    ...common,
    events,
    ...(databases && { databases }),
    ...(identity && { identity }),
    ...(image !== undefined && { renderImage: image }),
  };
  const makeControllers = (): Promise<ClusterController[]> => {
    const fleet: Informer[] = [];
    return Promise.all(places.map((place) => createClusterController({ ...shared, fleet, ...place })));
  };
  let manager: Manager | undefined;
  const state = (): ManagerState => manager?.state() ?? { unsynced: ['the API server'], leading: false, stopping: signal.aborted };
  const server = await network.serveHttp(listen, healthHandler({ metrics, state }));
  logger.info({ port: server.local.port, watchNamespaces, leaseNamespace: podNamespace }, 'operator started');

  const work = async (): Promise<void> => {
    const controllers = await untilAnswered(makeControllers, { clock, random, logger, signal });
    manager = createManager({
      ...common,
      informers: controllers.flatMap(({ informers }) => informers),
      controllers: controllers.map(({ controller }) => controller),
      atOnce: AT_ONCE,
      election: {
        // a bucket of its own: a busy controller must not starve the renewals
        api: httpApi({ transport, clock, metrics, throttle: { perSecond: 5, burst: 10 }, timeoutMs: 5_000 }),
        lease: { namespace: podNamespace, name: 'onecloud-operator' },
        identity: `${podName}_${randomUuid(random)}`,
        ...electionTimes,
      },
      drainMs: DRAIN_MS,
    });
    await manager.run(signal);
  };
  const ended = work()
    .catch((error: unknown) => {
      if (!signal.aborted || error !== signal.reason) throw error;
    })
    .finally(async () => {
      await server.close();
      await transport.close();
    });
  return { local: server.local, ended };
}
