export * from './coordination.ts';
export { coordinationErrors } from './errors.ts';
export { MemoryCoordination, type MemoryCoordinationOptions } from './memory-coordination.ts';
export { type CoordinationContext, openCoordination } from './open-coordination.ts';
export { ModelZooKeeper, type ModelZooKeeperOptions } from './zookeeper/model-zookeeper.ts';
export { ZooKeeperCoordination, type ZooKeeperCoordinationOptions } from './zookeeper/zookeeper-coordination.ts';
