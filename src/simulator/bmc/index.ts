export { type BmcStats, SimulatedBmc, type SimulatedBmcOptions } from './bmc.ts';
export type { BmcUser } from './bmc-sessions.ts';
export type { BootOverride, Chassis, ChassisDelays } from './chassis.ts';
export { type BmcFaults, noFaults } from './faults.ts';
