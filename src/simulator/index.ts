/** A site without hardware: virtual time, seeded randomness, a network without wires and disks without platters. */
export { type RunOptions, VirtualClock, type VirtualClockOptions } from './clock.ts';
export * from './disk/index.ts';
export { simulatorErrors } from './errors.ts';
export * from './network/index.ts';
export { type SeededRandom, seededRandom } from './random.ts';
