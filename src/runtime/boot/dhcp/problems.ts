/** What the DHCP service notices about the network around it: for metrics, for `bmctl explain` and for whoever is woken at night. */
export type DhcpProblemKind =
  /** A DHCP server that is neither ours nor a replica of ours answers, or is chosen by a client. */
  | 'rival-server'
  /** An address that we may give is used by somebody else. */
  | 'address-conflict'
  /** A relay passes on requests from a network that the configuration does not know. */
  | 'unknown-relay'
  /** A configured relay has passed nothing on since the start. */
  | 'silent-relay'
  | 'pool-exhausted'
  /** Requests come from an interface whose network is not served. */
  | 'unserved-interface'
  /** More unknown machines want to boot than are enrolled by themselves. */
  | 'discovery-limited';

export interface DhcpProblem {
  readonly kind: DhcpProblemKind;
  /** The server, address, relay or network that it is about. */
  readonly subject: string;
  readonly mac?: string;
  /** A sentence: what was seen. */
  readonly detail: string;
}

/** What to do about it. */
export const PROBLEM_CURES: Readonly<Record<DhcpProblemKind, string>> = {
  'rival-server': 'Stop it on this network, or set [dhcp] mode = proxy and let it give the addresses.',
  'address-conflict': 'Find the machine by its MAC address, or take the address out of the pool; it is given to nobody for now.',
  'unknown-relay':
    'Add its network to [dhcp] networks, with relay= for a relay whose own address lies elsewhere, or remove the helper address there.',
  'silent-relay':
    'Look at the router’s helper address (ip helper-address, dhcp relay) and at what lies between; or no machine there has booted.',
  'pool-exhausted': 'Widen the range, shorten [dhcp] lease_time, or reserve addresses.',
  'unserved-interface': 'Add the network of this interface to [dhcp] networks, or take the interface out of [dhcp] interfaces.',
  'discovery-limited':
    'Look at who asks (bmctl boot): a flood, or a room full of new machines? Complete or remove what is discovered; [dhcp] discover_limit and discover_rate allow more.',
};
