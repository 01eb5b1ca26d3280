/**
 * Objects that carry names of ours without our label. Informers do not select them, and an apply would merge into them and take them over: the
 * cluster's deletion would then be theirs.
 */
import { MANAGED_BY, onecloudLabel } from 'cdk8s-baremetal-contract/onecloud/index';
import type { KubeApi } from '../engine/api.ts';
import { keyOf, type LiveObject, type ResourceType } from '../engine/objects.ts';

/** For one pass over one cluster: a kind is listed once, when the first object of it is to be made. */
export class Strangers {
  readonly #api: KubeApi;
  readonly #namespace: string;
  readonly #kinds = new Map<string, Promise<ReadonlyMap<string, LiveObject>>>();

  constructor(api: KubeApi, namespace: string) {
    this.#api = api;
    this.#namespace = namespace;
  }

  /** Undefined: the name is free, or our own. */
  async find(type: ResourceType, name: string): Promise<LiveObject | undefined> {
    const listing = this.#kinds.get(type.kind) ?? this.#list(type);
    this.#kinds.set(type.kind, listing);
    return (await listing).get(`${this.#namespace}/${name}`);
  }

  async #list(type: ResourceType): Promise<ReadonlyMap<string, LiveObject>> {
    const selection = { namespace: this.#namespace, labelSelector: `${onecloudLabel.managedBy}!=${MANAGED_BY}` };
    const { items } = await this.#api.list(type, selection);
    return new Map(items.map((item) => [keyOf(item), item]));
  }
}
