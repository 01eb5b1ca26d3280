export * from './coordination.ts';
export { coordinationErrors } from './errors.ts';
export { LeaseCoordination, type LeaseCoordinationOptions } from './leases/lease-coordination.ts';
export {
  type LeaseEvent,
  type LeaseFields,
  type LeaseKind,
  LeasePositionLost,
  type LeaseSource,
  type StoredLease,
  type Ticket,
} from './leases/lease-source.ts';
export { type LeasesAddress, parseLeasesUrl } from './leases/leases-url.ts';
export { MemoryCoordination, type MemoryCoordinationOptions } from './memory-coordination.ts';
export { type CoordinationContext, openCoordination } from './open-coordination.ts';
export { ModelZooKeeper, type ModelZooKeeperOptions } from './zookeeper/model-zookeeper.ts';
export { ZooKeeperCoordination, type ZooKeeperCoordinationOptions } from './zookeeper/zookeeper-coordination.ts';
