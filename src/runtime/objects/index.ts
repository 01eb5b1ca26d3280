export { objectErrors } from './errors.ts';
export { type MachineObject, readObject } from './machine-object.ts';
export { MachineObjects, type MachineObjectsOptions } from './machine-objects.ts';
export type { ObjectChange, ObjectNews } from './object-news.ts';
export { type Listing, type ObjectEvent, type ObjectSource, PositionLost, type StatusOutcome } from './object-source.ts';
