/** The implementations that keep the contract of coordination, each as a group of replicas on one virtual clock. */
import { type Coordination, MemoryCoordination, ModelZooKeeper, ZooKeeperCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';

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
