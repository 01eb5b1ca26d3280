/**
 * What the service of the `direct` method needs from the floor above: who may read an image now, and where to put what the ramdisk says of its
 * work. Any replica can answer both, since both are the machine's record.
 */
import type { PlanRequest } from './plan.ts';

export interface DirectRequest {
  /** The machine's number. */
  readonly node: number;
  /** From the Authorization header. Never logged. */
  readonly token: string;
  /** A canonical address. */
  readonly remoteAddress: string;
}

/** One image for one disk. */
export interface DirectDeployment {
  readonly id: string;
  readonly diskBytes: number;
  /** Default 512. */
  readonly blockBytes?: number;
  readonly imageId: string;
  readonly sha256?: string;
  /** Of a partition image; absent: the image brings its own table. */
  readonly partitions?: PlanRequest['partitions'];
  readonly configDrive?: PlanRequest['configDrive'];
}

export type DirectRefusal =
  | { readonly kind: 'unknown-node' }
  | { readonly kind: 'wrong-token' }
  | { readonly kind: 'wrong-address'; readonly reason: string }
  /** Not now, and not later: the deployment was given up, or is done. */
  | { readonly kind: 'not-writing'; readonly state: string };

export type DirectAccess =
  | { readonly kind: 'granted'; readonly deployment: DirectDeployment }
  /** The disk is being looked at first. */
  | { readonly kind: 'wait' }
  | DirectRefusal;

export type DirectNews =
  | { readonly kind: 'progress'; readonly bytes: number }
  /** Everything is on the disk, synchronized; `sha256` is the image's, as the manifest had it. */
  | { readonly kind: 'done'; readonly sha256: string }
  | { readonly kind: 'error'; readonly message: string };

export interface DirectDesk {
  access(request: DirectRequest): Promise<DirectAccess>;
  /** Atomic, as the use of a key. Telling the same twice does no harm. */
  report(request: DirectRequest, news: DirectNews): Promise<{ readonly kind: 'noted' } | DirectRefusal>;
}
