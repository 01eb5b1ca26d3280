/** The lease book of one replica beside the store that all replicas share: what is promised is stored first, and what others store is taken over. */
import { type Lease, LeaseBook, type LeaseStore } from './lease.ts';
import { remember } from './remember.ts';

export class LeaseKeeper {
  #book = new LeaseBook();
  readonly #store: LeaseStore;
  #unsaved: Lease[] = [];
  #saving: Promise<readonly Lease[]> = Promise.resolve([]);
  #nextSave: Promise<readonly Lease[]> | undefined;
  #watch: { close(): void } | undefined;
  /** What was stored from here lately. */
  readonly #saved = new Map<string, number>();
  /** Of each address, what was stored from here last, or what kept it from being stored. */
  readonly #last = new Map<string, string>();

  constructor(store: LeaseStore) {
    this.#store = store;
  }

  get book(): LeaseBook {
    return this.#book;
  }

  /** Resolves when every stored lease is known; rejects when the store does not answer. */
  async open(): Promise<void> {
    // watched before it is read, so that nothing falls between
    const meanwhile: Lease[] = [];
    let loaded = false;
    this.#watch = this.#store.watch?.((lease) => {
      if (loaded) this.#takeOver(lease);
      else meanwhile.push(lease);
    });
    this.#book = new LeaseBook(await this.#store.load());
    loaded = true;
    for (const lease of meanwhile) this.#takeOver(lease);
  }

  close(): void {
    this.#watch?.close();
  }

  /**
   * Resolves when the leases are stored: to true when another replica had given one of the addresses away meanwhile, or had it declined, which is known here
   * from then on.
   * Rejects when the store does not take them.
   */
  async wasOvertaken(changed: readonly Lease[]): Promise<boolean> {
    for (const lease of changed) {
      remember(this.#saved, keyOf(lease), Number.POSITIVE_INFINITY);
      this.#last.set(lease.address, keyOf(lease));
    }
    const inTheWay = await this.save(changed);
    const overtaken = inTheWay.filter((stored) => changed.some((lease) => isOvertakenBy(lease, stored)));
    for (const lease of overtaken) {
      this.#book.put(lease);
      this.#last.set(lease.address, keyOf(lease));
    }
    return overtaken.length > 0;
  }

  /** One save at a time, in order; what comes meanwhile goes together into the next. Resolves to the leases that stand in the way. */
  save(changed: readonly Lease[]): Promise<readonly Lease[]> {
    this.#unsaved.push(...changed);
    this.#nextSave ??= this.#saving
      .catch(() => []) // told to those whose leases were in it
      .then(() => {
        this.#nextSave = undefined;
        this.#saving = this.#store.save(this.#unsaved.splice(0));
        return this.#saving;
      });
    return this.#nextSave;
  }

  /**
   * The store tells of a change. Another replica's stands, also against what was offered here and not taken yet. Ours comes back late and says nothing new,
   * but for the last one: what another replica had stored before it may have been told after it was made.
   */
  #takeOver(lease: Lease): void {
    const key = keyOf(lease);
    if (!this.#saved.has(key) || this.#last.get(lease.address) === key) this.#book.put(lease);
  }
}

/** What stands in the way of others whose leases went into the same save is theirs. */
function isOvertakenBy(lease: Lease, { address, mac, state }: Lease): boolean {
  return lease.address === address && (lease.mac !== mac || (lease.state === 'bound' && state === 'declined'));
}

function keyOf({ address, mac, state, untilMs }: Lease): string {
  return `${address} ${mac} ${state} ${untilMs}`;
}
