/**
 * Secrets in the store that the records are in, so that every replica has them: encrypted, each bound to its name (sealed-secret.ts), under a key that
 * only the daemons' file has. A backup of the database holds them as they are: without the file it is no use to anybody.
 */
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import type { Random } from '../../core/random.ts';
import { modify, type Store, type Watch } from '../../store/index.ts';
import { machineErrors } from '../errors.ts';
import { checkedName, type SecretStore } from '../secrets.ts';
import { secretErrors } from './errors.ts';
import { open, rewrap, type SealedSecret, seal, secretKind } from './sealed-secret.ts';
import type { SecretKeyFile } from './secret-key-file.ts';

export interface SharedSecretStoreOptions {
  readonly store: Store;
  readonly keys: SecretKeyFile;
  readonly random: Random;
}

/** What keys the secrets need that are there. */
export interface KeyUse {
  readonly secrets: number;
  /** Ids of keys that the file lacks, and how many secrets each has. */
  readonly missing: ReadonlyMap<string, number>;
}

export class SharedSecretStore implements SecretStore {
  readonly #options: SharedSecretStoreOptions;
  /** Decrypted before; a change by anybody takes it out. */
  readonly #cache = new Map<string, Secret>();
  readonly #watch: Watch;
  /** Rises with each change that was heard of: what was read before is not kept. */
  #changes = 0;

  constructor(options: SharedSecretStoreOptions) {
    this.#options = options;
    this.#watch = options.store.watch(secretKind, (event) => this.#forget(event.type === 'put' ? event.record.id : event.id));
  }

  async read(name: string): Promise<Secret> {
    const known = this.#cache.get(checkedName(name));
    if (known !== undefined) return known;
    const changes = this.#changes;
    const record = await this.#options.store.get(secretKind, name);
    if (record === undefined) throw machineErrors.SECRET_UNKNOWN({ name });
    const value = open(name, record.value, this.#keyOf(name, record.value));
    // The power sync asks for every password each minute. Deployment keys are read anew: two owners may write one at once, and both go on with the last.
    if (name.startsWith('bmc.') && changes === this.#changes) this.#cache.set(name, value);
    return value;
  }

  /** Whether there is one, readable or not. */
  async has(name: string): Promise<boolean> {
    return (await this.#options.store.get(secretKind, checkedName(name))) !== undefined;
  }

  async write(name: string, value: Secret): Promise<void> {
    const { store, keys, random } = this.#options;
    const record = seal(checkedName(name), value, keys.writing, random);
    for (;;) {
      const created = await store.create(secretKind, name, record);
      if (created.outcome === 'stored') break;
      const changed = await modify(store, secretKind, name, () => record);
      if (changed.outcome === 'stored') break;
    }
    this.#forget(name);
  }

  async remove(name: string): Promise<void> {
    const { store } = this.#options;
    for (let record = await store.get(secretKind, checkedName(name)); record !== undefined; ) {
      const result = await store.delete(secretKind, record, record.version);
      record = result.outcome === 'deleted' ? undefined : result.current;
    }
    this.#forget(name);
  }

  /** Which keys the file must have. SECRET_KEY_WRONG when it has none of them. */
  async checkKeys(): Promise<KeyUse> {
    const { store, keys } = this.#options;
    const records = await store.list(secretKind);
    const missing = new Map<string, number>();
    for (const { value } of records)
      if (keys.find(value.keyId) === undefined) missing.set(value.keyId, (missing.get(value.keyId) ?? 0) + 1);
    const unreadable = [...missing.values()].reduce((sum, count) => sum + count, 0);
    if (records.length > 0 && unreadable === records.length) {
      throw secretErrors.SECRET_KEY_WRONG({ path: keys.path, secrets: records.length, keys: [...missing.keys()] });
    }
    return { secrets: records.length, missing };
  }

  /** Puts every secret under the file's first key; harmless while others read and write. Resolves to how many were not. */
  async rewrapAll(signal: AbortSignal): Promise<number> {
    const { store, keys, random } = this.#options;
    const to = keys.writing;
    let count = 0;
    for (const { id } of await store.list(secretKind, { where: ({ keyId }) => keyId !== to.id })) {
      signal.throwIfAborted();
      const result = await modify(store, secretKind, id, (record) => {
        const from = keys.find(record.keyId);
        if (from === undefined || from.id === to.id) return undefined;
        try {
          return rewrap(id, record, from, to, random);
        } catch {
          return undefined; // damaged: whoever reads it is told, and the others have their turn
        }
      });
      if (result.outcome === 'stored') count += 1;
    }
    return count;
  }

  close(): void {
    this.#watch.close();
    this.#cache.clear();
  }

  #keyOf(name: string, { keyId }: SealedSecret) {
    const key = this.#options.keys.find(keyId);
    if (key === undefined) throw secretErrors.SECRET_KEY_UNKNOWN({ name, key: keyId, path: this.#options.keys.path });
    return key;
  }

  #forget(name: string): void {
    this.#changes += 1;
    this.#cache.delete(name);
  }
}
