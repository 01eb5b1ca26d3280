export * from './redfish-service.ts';
