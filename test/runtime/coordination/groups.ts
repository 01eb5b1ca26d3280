/** The implementations that keep the contract of coordination, each as a group of replicas on one virtual clock. */
import {
  type Coordination,
  LeaseCoordination,
  MemoryCoordination,
  ModelZooKeeper,
  ZooKeeperCoordination,
} from 'cdk8s-baremetal-runtime/coordination/index';
import type { Network } from 'cdk8s-baremetal-runtime/core/index';
import { ClusterLeases } from 'cdk8s-baremetal-runtime/roles/cluster-leases';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import { FakeKubernetes, TOKEN } from '../store/fake-kubernetes.ts';

export interface Group {
  readonly clock: VirtualClock;
  /** One more replica. */
  replica(): Coordination;
  close(): Promise<void>;
}

export const LEASE_MS = 15_000;

export const groups: { name: string; create: () => Group }[] = [
  {
    name: 'memory',
    create: () => {
      const clock = new VirtualClock();
      const group = new MemoryCoordination({ clock, leaseMs: LEASE_MS });
      return { clock, replica: () => group, close: () => group.close() };
    },
  },
  { name: 'the model of ZooKeeper', create: () => modelGroup() },
  { name: 'Leases of an API server', create: () => leaseGroup() },
];

export interface ModelGroup extends Group {
  readonly zookeeper: ModelZooKeeper;
  replica(): ZooKeeperCoordination;
}

export function modelGroup(): ModelGroup {
  const clock = new VirtualClock();
  const zookeeper = new ModelZooKeeper({ clock });
  const replicas: ZooKeeperCoordination[] = [];
  return {
    clock,
    zookeeper,
    replica() {
      const replica = new ZooKeeperCoordination({
        servers: [{ host: '127.0.0.1', port: 2181 }],
        path: '/site/bms',
        clock,
        connect: zookeeper.connect,
        sessionTimeoutMs: LEASE_MS,
      });
      replicas.push(replica);
      return replica;
    },
    async close() {
      await clock.run(Promise.all(replicas.map((replica) => replica.close())));
    },
  };
}

export interface LeaseGroup extends Group {
  readonly fake: FakeKubernetes;
  /** One more replica, by a network of its own where one is given. */
  replica(network?: Network): LeaseCoordination;
}

export function leaseGroup(): LeaseGroup {
  const fake = new FakeKubernetes();
  const started = fake.start();
  const replicas: LeaseCoordination[] = [];
  return {
    clock: fake.clock,
    fake,
    replica(network = fake.client) {
      const source = new ClusterLeases({
        access: { server: fake.url, namespace: 'bms', credentials: () => ({ token: TOKEN, ca: '' }) },
        namespace: 'bms',
        scope: 'pod45-wuxi2',
        network,
        clock: fake.clock,
        random: seededRandom(`api ${replicas.length}`),
        leaseMs: LEASE_MS,
      });
      const random = seededRandom(`replica ${replicas.length}`);
      const replica = new LeaseCoordination({ source, scope: 'pod45-wuxi2', clock: fake.clock, random, leaseMs: LEASE_MS });
      replicas.push(replica);
      return replica;
    },
    async close() {
      await started;
      await fake.clock.run(Promise.all(replicas.map((replica) => replica.close())));
    },
  };
}
