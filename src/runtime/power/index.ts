export { Secret } from 'cdk8s-baremetal-contract/secret';
export { isAuthenticationFailure, isPermanent, powerErrors } from './errors.ts';
export { IpmiGateway, type IpmiGatewayOptions, type IpmiGatewayStats } from './ipmi/gateway.ts';
export { IpmiPower } from './ipmi/ipmi-power.ts';
export { jittered, type RetransmissionSchedule } from './ipmi/retransmission.ts';
export * from './power-cycle.ts';
export * from './power-manager.ts';
