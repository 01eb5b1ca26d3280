/** The HTTP API of bms-core as both sides know it: schemas, operations, roles, metrics, the OpenAPI document. */
export * from './bmc.ts';
export * from './boot.ts';
export * from './catalog.ts';
export * from './event.ts';
export * from './instance.ts';
export * from './metrics.ts';
export * from './node.ts';
export * from './notification.ts';
export * from './nova.ts';
export * from './openapi.ts';
export * from './operations.ts';
export * from './problem.ts';
export * from './roles.ts';
