export type * from './claim.ts';
export { type HardwareFacts, hardwareFacts } from './facts.ts';
export { type DeployHelperOptions, deployHelper } from './handler.ts';
export { canonicalAddress } from './ip-address.ts';
export { type DecodedLldp, decodeLldp, type LldpNeighbour } from './lldp.ts';
export { type AcceptReport, parseReport, RAMDISK_REPORT_PATH, type RamdiskReport, type ReportOutcome } from './ramdisk-report.ts';
