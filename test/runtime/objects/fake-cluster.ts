/** BareMetalNode objects in memory, with versions, generations and watches as an API server has them; it can be away. */
import { type BareMetalNodeSpec, bareMetalNode } from 'cdk8s-baremetal-contract/crd/index';
import {
  type Listing,
  type MachineObject,
  type ObjectEvent,
  type ObjectSource,
  PositionLost,
  readObject,
  type StatusOutcome,
} from 'cdk8s-baremetal-runtime/objects/index';

type Spec = BareMetalNodeSpec | Record<string, unknown>;

export class FakeCluster implements ObjectSource {
  away = false;
  writes: { name: string; at: number }[] = [];
  readonly #objects = new Map<string, Record<string, unknown>>();
  readonly #log: ObjectEvent[] = [];
  #version = 100;
  #uids = 0;
  #waiting: (() => void)[] = [];

  constructor(private readonly nowMs: () => number) {}

  put(name: string, spec: Spec): void {
    const before = this.#objects.get(name)?.metadata as { uid: string; generation: number } | undefined;
    const uid = before?.uid ?? `00000000-0000-4000-8000-${String(++this.#uids).padStart(12, '0')}`;
    this.#store(name, { uid, generation: (before?.generation ?? 0) + 1 }, spec, this.#objects.get(name)?.status);
  }

  remove(name: string): void {
    this.#objects.delete(name);
    this.#tell({ type: 'gone', name, position: String(++this.#version) });
  }

  get(name: string): MachineObject {
    const object = readObject(this.#objects.get(name));
    if (object === undefined) throw new Error(`there is no object ${name}`);
    return object;
  }

  condition(name: string, type: string) {
    return this.get(name).status?.conditions?.find((one) => one.type === type);
  }

  /** Ends every watch as a server that has forgotten their place. */
  forget(): void {
    this.#log.length = 0;
    this.#forgotten = this.#version;
    this.#wake();
  }
  #forgotten = 0;

  goAway(): void {
    this.away = true;
    this.#wake();
  }

  async list(): Promise<Listing> {
    this.#check();
    return { objects: [...this.#objects.values()].map(readObject).filter((one) => one !== undefined), position: String(this.#version) };
  }

  async *watch(position: string, signal: AbortSignal): AsyncGenerator<ObjectEvent> {
    let at = Number(position);
    signal.addEventListener('abort', () => this.#wake(), { once: true });
    for (;;) {
      if (signal.aborted) throw signal.reason;
      this.#check();
      if (at < this.#forgotten) throw new PositionLost();
      const next = this.#log.find((event) => Number(event.position) > at);
      if (next !== undefined) {
        at = Number(next.position);
        yield next;
        continue;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  async updateStatus(object: MachineObject, status: object): Promise<StatusOutcome> {
    this.#check();
    bareMetalNode.status?.parse(status); // what the definition does not know would be pruned
    const current = readObject(this.#objects.get(object.name));
    if (current?.resourceVersion !== object.resourceVersion) return { kind: 'changed' };
    this.writes.push({ name: object.name, at: this.nowMs() });
    this.#store(object.name, { uid: current.uid, generation: current.generation }, current.rawSpec, status);
    return { kind: 'written', object: this.get(object.name) };
  }

  #store(name: string, head: { uid: string; generation: number }, spec: unknown, status: unknown): void {
    const resourceVersion = String(++this.#version);
    const metadata = { ...head, namespace: 'bms', name, resourceVersion };
    this.#objects.set(name, JSON.parse(JSON.stringify({ metadata, spec, status }))); // a new object has no status at all
    this.#tell({ type: 'put', object: this.get(name), position: resourceVersion });
  }

  #tell(event: ObjectEvent): void {
    this.#log.push(event);
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #check(): void {
    if (this.away) throw new Error('connect ECONNREFUSED');
  }
}
