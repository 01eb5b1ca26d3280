export { type BmcStats, SimulatedBmc, type SimulatedBmcOptions } from './bmc.ts';
export type { BootOverride, Chassis, ChassisDelays } from './chassis.ts';
export { EventLog } from './event-log.ts';
export { type BmcFaults, noFaults } from './faults.ts';
export { SimulatedIBoot, type SimulatedIBootOptions } from './iboot.ts';
export { analogSensor, discreteSensor, type SimulatedSensor, serverSensors } from './sensor-model.ts';
export type { SerialPort } from './serial-over-lan.ts';
export type { BmcPrivilege, BmcUser } from './users.ts';
