/**
 * Who holds which address. A plain, explicit state: time comes in as an argument, and what changed goes to a `LeaseStore` before the
 * client hears of it (RFC 2131 section 3.1 step 4).
 *
 * The client's identity is its MAC, not option 61: a machine's boot ROM, its deploy ramdisk and its operating system send three different client
 * identifiers, and must get one address all the same, since the deployment is bound to it.
 */
export type LeaseState =
  /** Held back for a client that has been offered the address; never stored. */
  | 'offered'
  | 'bound'
  /** Given back; remembered so that the same client gets the same address again. */
  | 'released'
  /** The address was found in use by someone else than `mac`, whose it was or would have become; nobody gets it until `untilMs`. */
  | 'declined';

export interface Lease {
  readonly address: string;
  readonly mac: string;
  readonly state: LeaseState;
  /** Wall-clock milliseconds at which the state ends. */
  readonly untilMs: number;
}

/** Keeps leases over a restart, and between replicas that answer on one network. Rows are keyed by address. */
export interface LeaseStore {
  load(): Promise<readonly Lease[]>;
  /**
   * Inserts or replaces, unless another replica has given the address to another machine meanwhile: resolves with the leases that stand in the way.
   * A rejection keeps the client's answer back.
   */
  save(leases: readonly Lease[]): Promise<readonly Lease[]>;
  /** Tells what other replicas store. @default nobody else stores */
  watch?(onChange: (lease: Lease) => void): { close(): void };
}

export class MemoryLeaseStore implements LeaseStore {
  private readonly rows = new Map<string, Lease>();

  load(): Promise<readonly Lease[]> {
    return Promise.resolve([...this.rows.values()]);
  }

  save(leases: readonly Lease[]): Promise<readonly Lease[]> {
    for (const lease of leases) this.rows.set(lease.address, lease);
    return Promise.resolve([]);
  }
}

/** Whether `stored` keeps `wanted` from being stored: the address is another machine's, or was found in use. */
export function standsInTheWay(stored: Lease, wanted: Lease, nowMs: number): boolean {
  if (stored.untilMs <= nowMs || stored.state === 'released') return false;
  if (wanted.state === 'bound') return stored.mac !== wanted.mac || stored.state === 'declined';
  // another replica may have given it away a moment ago: to who was found to use it, or after the lease of who gives it back
  return stored.state === 'bound' && stored.mac !== wanted.mac;
}

export class LeaseBook {
  private readonly byAddress = new Map<string, Lease>();
  /** Addresses ever tied to a MAC; entries are checked against `byAddress` when read. */
  private readonly byMac = new Map<string, Set<string>>();

  constructor(leases: Iterable<Lease> = []) {
    for (const lease of leases) this.put(lease);
  }

  get(address: string): Lease | undefined {
    return this.byAddress.get(address);
  }

  /** Every record of the MAC, live or past, the one that ends last at the end: the same order in every replica, whatever came to it first. */
  ofMac(mac: string): readonly Lease[] {
    const addresses = this.byMac.get(mac);
    if (!addresses) return [];
    const leases: Lease[] = [];
    for (const address of addresses) {
      const lease = this.byAddress.get(address);
      if (lease) leases.push(lease);
    }
    return leases.length < 2 ? leases : leases.sort((a, b) => a.untilMs - b.untilMs || (a.address < b.address ? -1 : 1));
  }

  /** The lease that a client may use the address under, right now. */
  holder(address: string, nowMs: number): Lease | undefined {
    const lease = this.byAddress.get(address);
    return lease?.state === 'bound' && lease.untilMs > nowMs ? lease : undefined;
  }

  /** May `mac` be given the address: nobody else has it, and it is not in quarantine. */
  isFreeFor(address: string, mac: string, nowMs: number): boolean {
    const lease = this.byAddress.get(address);
    if (!lease || lease.untilMs <= nowMs) return true;
    if (lease.state === 'declined') return false;
    return lease.state === 'released' || lease.mac === mac;
  }

  put(lease: Lease): void {
    const before = this.byAddress.get(lease.address);
    if (before && before.mac !== lease.mac) this.forget(before);
    this.byAddress.set(lease.address, lease);
    const addresses = this.byMac.get(lease.mac) ?? new Set();
    addresses.add(lease.address);
    this.byMac.set(lease.mac, addresses);
  }

  remove(address: string): void {
    const lease = this.byAddress.get(address);
    if (!lease) return;
    this.byAddress.delete(address);
    this.forget(lease);
  }

  all(): readonly Lease[] {
    return [...this.byAddress.values()];
  }

  private forget(lease: Lease): void {
    const addresses = this.byMac.get(lease.mac);
    addresses?.delete(lease.address);
    if (addresses?.size === 0) this.byMac.delete(lease.mac);
  }
}
