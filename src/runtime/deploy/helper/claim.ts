/** What the deploy-helper needs from the floor above: a way to use a deployment key, once. */
export interface ClaimRequest {
  /** `i`: the machine's number. */
  readonly id: number;
  /** `k`. Never logged. */
  readonly key: string;
  /** `a`: where the ramdisk says that it is; a canonical address. */
  readonly address: string;
  /** Where the POST came from; a canonical address. */
  readonly remoteAddress: string;
  /** `p`: TCP port of its iSCSI target. */
  readonly port: number;
  /** `l` */
  readonly lun: number;
  /** `n`: name of its iSCSI target. */
  readonly iqn: string;
  /**
   * `b`, `s`, `z` and `h`, of a ramdisk that will write by itself (the `direct` method): size, serial number and block size of the disk that it chose,
   * and whether it holds anything.
   */
  readonly disk?: { readonly sizeBytes: number; readonly serial?: string; readonly blockBytes?: number; readonly holds?: string };
  /** `e`: what went wrong in the ramdisk; absent when nothing did. */
  readonly error?: string;
}

export type ClaimOutcome =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'unknown-node' }
  | { readonly kind: 'wrong-key' }
  /** The right key, for the second time. */
  | { readonly kind: 'used' }
  | { readonly kind: 'expired'; readonly at: string }
  | { readonly kind: 'not-waiting'; readonly state: string }
  | { readonly kind: 'wrong-address'; readonly reason: string }
  | { readonly kind: 'wrong-target'; readonly expected: string }
  /** It wants to write by itself, or to be written to, and the other was asked of it. */
  | { readonly kind: 'wrong-method'; readonly expected: 'iscsi' | 'direct' };

/** Atomic: of two requests with one key at most one is accepted, whichever replicas they reach. */
export type ClaimDeployment = (request: ClaimRequest) => Promise<ClaimOutcome>;
