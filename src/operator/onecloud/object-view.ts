/** What informers know, corrected by what this program wrote itself and the informers have not seen yet. */
import type { Informer } from '../engine/informer.ts';
import { formatKey, type KubeObject, keyOf, type LiveObject, type ObjectKey } from '../engine/objects.ts';

/** Informers given to a view have it. */
export const NAMESPACE_INDEX = 'namespace';

export class ObjectView {
  readonly #informers: ReadonlyMap<string, Informer>;
  readonly #written = new Map<string, LiveObject>();

  constructor(informers: readonly Informer[]) {
    this.#informers = new Map(informers.map((informer) => [informer.type.kind, informer]));
  }

  follows(kind: string): boolean {
    return this.#informers.has(kind);
  }

  get(kind: string, key: ObjectKey): LiveObject | undefined {
    const id = `${kind} ${formatKey(key)}`;
    const informer = this.#informers.get(kind);
    const seen = informer?.store.get(formatKey(key));
    const written = this.#written.get(id);
    if (written === undefined) return seen;
    // what the informer has come past and does not know is deleted, or not what it selects
    const caughtUp = [seen?.metadata.resourceVersion, informer?.version()].some((version) => isAsNew(version, written));
    if (!caughtUp) return written;
    this.#written.delete(id);
    return seen;
  }

  /** Objects of a kind in a namespace. */
  list(kind: string, namespace: string): readonly LiveObject[] {
    return this.#informers.get(kind)?.store.find(NAMESPACE_INDEX, namespace) ?? [];
  }

  /** All of a kind. */
  all(kind: string): readonly LiveObject[] {
    return this.#informers.get(kind)?.store.list() ?? [];
  }

  written(object: LiveObject): void {
    this.#written.set(`${object.kind} ${keyOf(object)}`, object);
  }

  /** Deleted, by this program or as an informer saw it. */
  gone(object: KubeObject): void {
    this.#written.delete(`${object.kind} ${keyOf(object)}`);
  }
}

/** Versions of one kind are numbers that rise; Kubernetes says so since 1.35, and etcd makes them so. */
function isAsNew(version: string | undefined, { metadata: { resourceVersion } }: LiveObject): boolean {
  return version !== undefined && numberOf(version) >= numberOf(resourceVersion);
}

function numberOf(version: string): bigint {
  return BigInt(/^\d+$/.test(version) ? version : 0);
}
