/** What the service of the phone home needs from the floor above: whether this is the word that is waited for. Any replica can tell: it is the machine's record. */
export interface PhoneHomeRequest {
  /** The machine's number. */
  readonly node: number;
  /** Of one use. Never logged. */
  readonly token: string;
  /** A canonical address. */
  readonly remoteAddress: string;
}

export type PhoneHomeOutcome =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'unknown-node' }
  | { readonly kind: 'wrong-token' }
  /** It has been used. */
  | { readonly kind: 'used' }
  | { readonly kind: 'wrong-address'; readonly reason: string }
  | { readonly kind: 'not-waiting'; readonly state: string };

/** Atomic: of two requests with one token only one is accepted. */
export type AcceptPhoneHome = (request: PhoneHomeRequest) => Promise<PhoneHomeOutcome>;
