export { BareMetalNode, type BareMetalNodeProps } from './bare-metal-node.ts';
export { BmsCore, PodConfig } from './bms-core.ts';
export { InventoryError, type InventoryProblem, inventoryErrors, parseInventory, readInventory } from './inventory.ts';
export { ManagementNode, type ManagementNodeProps } from './management-node.ts';
export { Network, type NetworkProps } from './network.ts';
export { Pod, type PodProps } from './pod.ts';
export { Site, type SiteProps } from './site.ts';
export { Vip, type VipProps } from './vip.ts';
export { ZooKeeper } from './zookeeper.ts';
