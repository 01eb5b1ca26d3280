export * from './coordination.ts';
export { coordinationErrors } from './errors.ts';
export { MemoryCoordination, type MemoryCoordinationOptions, openCoordination } from './memory-coordination.ts';
