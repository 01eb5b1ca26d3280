export type { RedfishUser } from './redfish-accounts.ts';
export * from './redfish-service.ts';
