/** An iSCSI initiator in user space (RFC 7143), for writing images to the disk that a deploy ramdisk exports. */
export { type ChapAlgorithm, type ChapCredentials, ChapSecret } from './chap.ts';
export { type DiscoveredTarget, discoverTargets } from './discovery.ts';
export { type DiskOptions, type IscsiDisk, listLuns, openDisk } from './disk.ts';
export { iscsiErrors } from './errors.ts';
export type { DigestName, OperationalParameters, Preferences } from './negotiation.ts';
export { makeIsid, openSession, type SessionOptions } from './open-session.ts';
export type { Identifier } from './scsi.ts';
export type { IscsiSession, SessionTimes } from './session.ts';
export type { ScsiCommand, ScsiResult } from './tasks.ts';
