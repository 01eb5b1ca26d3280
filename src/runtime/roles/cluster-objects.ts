/** BareMetalNode objects of an API server, by the client that the store on Kubernetes has. */
import { CodedError } from 'cdk8s-baremetal-contract';
import { type BareMetalNodeStatus, bareMetalNode } from 'cdk8s-baremetal-contract/crd/index';
import type { Clock } from '../core/clock.ts';
import type { Network } from '../core/network.ts';
import type { Random } from '../core/random.ts';
import {
  type Listing,
  type MachineObject,
  type ObjectEvent,
  type ObjectSource,
  objectErrors,
  PositionLost,
  readObject,
  type StatusOutcome,
} from '../objects/index.ts';
import { fieldsOf } from '../store/kubernetes/record-object.ts';
import { RecordsApi } from '../store/kubernetes/records-api.ts';
import type { ApiAccess } from '../store/kubernetes/service-account.ts';
import { clusterWatch } from './cluster-watch.ts';

export interface ClusterObjectsOptions {
  readonly access: ApiAccess;
  readonly namespace: string;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
}

/** Who asks tries again by himself, and has others to look after meanwhile. */
const PATIENCE_MS = 5_000;

export class ClusterObjects implements ObjectSource {
  readonly #options: ClusterObjectsOptions;
  readonly #api: RecordsApi;

  constructor(options: ClusterObjectsOptions) {
    this.#options = options;
    this.#api = new RecordsApi({ ...options, resource: bareMetalNode, patienceMs: PATIENCE_MS });
  }

  async list(): Promise<Listing> {
    const { items, resourceVersion } = await this.#told(() => this.#api.list(''));
    return { objects: items.map(readObject).filter((object) => object !== undefined), position: resourceVersion };
  }

  async *watch(position: string, signal: AbortSignal): AsyncGenerator<ObjectEvent> {
    const { clock, random } = this.#options;
    const lines = clusterWatch({ api: this.#api, clock, random, position, signal, lost: () => new PositionLost() });
    try {
      for (;;) {
        const { done, value } = await this.#told(() => lines.next());
        if (done) return;
        const event = eventOf(value.type, value.object);
        if (event !== undefined) yield event;
      }
    } finally {
      await lines.return(undefined);
    }
  }

  async updateStatus(
    { name, namespace, uid, resourceVersion, rawSpec }: MachineObject,
    status: BareMetalNodeStatus,
  ): Promise<StatusOutcome> {
    const { apiVersion, kind } = bareMetalNode;
    const body = JSON.stringify({ apiVersion, kind, metadata: { name, namespace, uid, resourceVersion }, spec: rawSpec, status });
    const written = { kind: 'status of the machine object', id: name };
    const answer = await this.#told(() => this.#api.call({ verb: 'update', name, subresource: 'status', body, written }));
    const object = answer.status === 200 ? readObject(answer.object) : undefined;
    return object === undefined ? { kind: 'changed' } : { kind: 'written', object };
  }

  close(): void {
    this.#api.close();
  }

  /** The client's words are about records. */
  async #told<T>(work: () => Promise<T>): Promise<T> {
    const { namespace, access } = this.#options;
    try {
      return await work();
    } catch (cause) {
      const code = cause instanceof CodedError ? cause.code : undefined;
      if (code === 'STORE_KUBERNETES_FORBIDDEN' && cause instanceof CodedError)
        throw objectErrors.OBJECTS_FORBIDDEN({ namespace, reason: cause.message.replace(/^.*?: /, '') }, { cause });
      if (code === 'STORE_KUBERNETES_CRD_MISSING') throw objectErrors.OBJECTS_CRD_MISSING({ server: access.server }, { cause });
      throw cause;
    }
  }
}

/** Undefined for what says nothing that we know. */
function eventOf(type: string, object: unknown): ObjectEvent | undefined {
  const { name, resourceVersion } = fieldsOf(fieldsOf(object).metadata);
  if (type === 'ERROR') {
    const { code, message } = fieldsOf(object);
    if (code === 410) throw new PositionLost();
    throw new Error(`the API server ended the watch: ${String(message)}`);
  }
  if (typeof resourceVersion !== 'string') return undefined;
  if (type === 'BOOKMARK') return { type: 'bookmark', position: resourceVersion };
  if (type === 'DELETED' && typeof name === 'string') return { type: 'gone', name, position: resourceVersion };
  if (type !== 'ADDED' && type !== 'MODIFIED') return undefined;
  const known = readObject(object);
  return known === undefined ? { type: 'bookmark', position: resourceVersion } : { type: 'put', object: known, position: resourceVersion };
}
