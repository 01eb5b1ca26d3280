/** An iSCSI target on the simulator's network (or a real one), for everything that writes to disks. */
export type { CommandFault, ObservedCommand, TargetFaults } from './faults.ts';
export { type IscsiTarget, type IscsiTargetOptions, type LunOptions, startIscsiTarget } from './target.ts';
export type { TargetChap } from './target-login.ts';
export type { TargetSession } from './target-session.ts';
