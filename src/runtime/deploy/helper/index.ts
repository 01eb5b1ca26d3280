export type * from './claim.ts';
export { type DeployHelperOptions, deployHelper } from './handler.ts';
export { canonicalAddress } from './ip-address.ts';
