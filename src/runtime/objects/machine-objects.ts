/**
 * Machines as Kubernetes objects: what the BareMetalNodes of the own pod ask for is brought into the store, and what is known of the machines is written
 * into their status. Every replica does it: steps are compare-and-swap, and of a machine that somebody alive owns only the owner writes the status.
 */
import { asCoded } from '../api/errors.ts';
import { sleep, type Timer } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import { machineErrors, mountedRef, type NodeRecord, type NodesContext, nodeKind, setMaintenance, unenrol } from '../machine/index.ts';
import { modify, type Watch } from '../store/index.ts';
import { applyWanted, enrolWanted, renameUser } from './apply.ts';
import { type Binding, bindingId, bindingKind } from './binding.ts';
import { nextStep, type Step } from './decide.ts';
import { objectErrors } from './errors.ts';
import type { MachineObject } from './machine-object.ts';
import { ObjectFeed } from './object-feed.ts';
import type { ObjectChange, ObjectNews } from './object-news.ts';
import type { ObjectSource } from './object-source.ts';
import { sameStatus, statusOf, type Verdict } from './status.ts';
import { type WantedMachine, wantedMachine } from './wanted.ts';

export interface MachineObjectsOptions extends NodesContext {
  readonly source: ObjectSource;
  readonly namespace: string;
  readonly site: string;
  readonly pod: string;
  readonly logger: Logger;
  /** User name of a `credentials.…`; SECRET_UNKNOWN when there is none. */
  readonly username: (name: string) => Promise<string>;
  readonly credentialsDirectory: string;
  /** [ipmi] cipher_suite, which is one for all. */
  readonly cipherSuite: string;
  readonly forgetAfterMs: number;
  /** This replica's life in the group. */
  readonly memberId: () => string | undefined;
  readonly isAlive: (memberId: string) => Promise<boolean>;
  /** Told once for each thing that is done or refused. */
  readonly onNews: (news: ObjectNews) => void;
}

/** All is looked at again in this time: what was refused, Secrets that changed, machines whose object is gone. */
const RESYNC_MS = 60_000;
/** A machine's status is written once in this time at most; what changes in between is written as its newest. */
const STATUS_INTERVAL_MS = 5_000;
const STATUS_GAP_MS = 50;
const RETRY_MS = 5_000;
/** A round of steps that does not end by then goes on later. */
const MOST_STEPS = 12;

export class MachineObjects {
  readonly #options: MachineObjectsOptions;
  readonly #feed: ObjectFeed;
  readonly #place: string;
  readonly #stop = new AbortController();
  readonly #dirty = new Set<string>();
  readonly #timers = new Map<string, Timer>();
  readonly #names = new Map<string, string>();
  readonly #refused = new Map<string, { readonly uid: string; readonly generation: number; readonly verdict: Verdict }>();
  readonly #writtenAt = new Map<string, number>();
  /** Enrolled here a moment ago: what is applied first is part of that. */
  readonly #fresh = new Set<string>();
  #wake: (() => void) | undefined;
  #watch: Watch | undefined;
  #running: Promise<unknown> | undefined;

  constructor(options: MachineObjectsOptions) {
    this.#options = options;
    const { source, clock, logger, site, pod } = options;
    this.#place = `${pod}-${site}`;
    this.#feed = new ObjectFeed({
      source,
      clock,
      logger,
      signal: this.#stop.signal,
      isOurs: (object) => object.site === site && object.pod === pod,
      onChange: (name) => this.#mark(name),
      onListed: () => void this.#markAll(),
    });
  }

  /** How many objects there are for this pair, how many of them are refused, and whether that is what the API server says now. */
  get summary(): { readonly objects: number; readonly refused: number; readonly reading: boolean } {
    const names = this.#feed.names();
    const refused = names.filter((name) => {
      const object = this.#feed.get(name);
      return object !== undefined && !this.#verdict(object).accepted;
    });
    return { objects: names.length, refused: refused.length, reading: this.#feed.reading };
  }

  start(): void {
    const { store } = this.#options;
    this.#watch = store.watch(nodeKind, (event) => {
      const name = this.#names.get(event.type === 'put' ? event.record.id : event.id);
      if (name !== undefined) this.#mark(name);
    });
    this.#running = Promise.all([this.#feed.run(), this.#work(), this.#resync()]);
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('the daemon is closing'));
    this.#watch?.close();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
    this.#wake?.();
    await this.#running;
  }

  async #resync(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#stop.signal.aborted) {
      await sleep(clock, RESYNC_MS, this.#stop.signal).catch(() => undefined);
      await this.#markAll();
    }
  }

  /** Also those whose object went away while nobody looked. */
  async #markAll(): Promise<void> {
    const { store, namespace, logger } = this.#options;
    try {
      const bound = await store.list(bindingKind, {
        where: (one) => one.namespace === namespace && one.place === this.#place,
        onInvalid: () => undefined,
      });
      for (const { value } of bound) {
        this.#names.set(value.nodeUuid, value.name);
        this.#mark(value.name);
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) logger.warn({ error: String(error) }, 'machines of objects cannot be listed; trying again');
    }
    for (const name of this.#feed.names()) this.#mark(name);
  }

  #mark(name: string): void {
    this.#dirty.add(name);
    this.#wake?.();
  }

  #markLater(name: string, delayMs: number): void {
    if (this.#stop.signal.aborted || this.#timers.has(name)) return;
    const timer = this.#options.clock.after(delayMs, () => {
      this.#timers.delete(name);
      this.#mark(name);
    });
    this.#timers.set(name, timer);
  }

  /** One object at a time. */
  async #work(): Promise<void> {
    const { logger } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const [name] = this.#dirty;
      if (name === undefined || !this.#feed.listed) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
        continue;
      }
      this.#dirty.delete(name);
      try {
        await this.#look(name);
      } catch (error) {
        if (signal.aborted) return;
        logger.warn({ object: name, error: String(error) }, 'an object could not be worked on; trying again');
        this.#markLater(name, RETRY_MS);
      }
    }
  }

  async #look(name: string): Promise<void> {
    const { store, namespace, clock, logger } = this.#options;
    const id = bindingId({ namespace, name });
    for (let steps = 0; steps < MOST_STEPS; steps++) {
      this.#stop.signal.throwIfAborted();
      const object = this.#feed.get(name);
      const binding = (await store.get(bindingKind, id))?.value;
      const node = binding && (await store.get(nodeKind, binding.nodeUuid))?.value;
      if (binding) this.#names.set(binding.nodeUuid, name);
      const nowMs = clock.now();
      const username = object && (await this.#usernameOf(object));
      const step = nextStep({ object, place: this.#place, binding, node, username, nowMs, forgetAfterMs: this.#options.forgetAfterMs });
      if (step.kind === 'wait') this.#markLater(name, Math.min(step.untilMs - nowMs, RESYNC_MS));
      if (step.kind === 'nothing' || step.kind === 'wait') return this.#report(name, object, node);
      try {
        await this.#take(step, { id, name, object, binding, node, username });
        this.#refused.delete(name);
        logger.debug({ object: name, step: step.kind }, 'object');
      } catch (error) {
        const refusal = asCoded(error);
        // trouble of the store is nobody's fault who wrote the object
        if (refusal === undefined || refusal.code.startsWith('STORE_')) throw error;
        const { code, message, cure } = refusal;
        if (object === undefined) {
          logger.warn({ object: name, code, step: step.kind }, message); // in use after all: it stays held
          return;
        }
        const known = this.#refused.get(name);
        if (known?.verdict.accepted !== false || known.verdict.message !== message) {
          logger.warn({ object: name, code, cure }, message);
          this.#tell('Refused', object, `${code}: ${message}. ${cure}.`, true);
        }
        this.#refused.set(name, { uid: object.uid, generation: object.generation, verdict: { accepted: false, code, message, cure } });
        return this.#report(name, object, node);
      }
    }
    this.#markLater(name, RETRY_MS);
  }

  async #take(
    step: Step,
    seen: {
      readonly id: string;
      readonly name: string;
      readonly object: MachineObject | undefined;
      readonly binding: Binding | undefined;
      readonly node: NodeRecord | undefined;
      readonly username: string | undefined;
    },
  ): Promise<void> {
    const { store, clock, logger, namespace } = this.#options;
    const { id, name, object, binding, node, username } = seen;
    const nodeUuid = binding?.nodeUuid ?? '';
    switch (step.kind) {
      case 'bind': {
        if (object === undefined) return;
        const place = this.#place;
        const value: Binding = {
          ...binding,
          namespace,
          name,
          place,
          uid: object.uid,
          nodeUuid: step.nodeUuid,
          generation: 0,
          goneSince: undefined,
        };
        const created = await store.create(bindingKind, id, value);
        if (created.outcome === 'exists')
          await modify(store, bindingKind, id, (latest) =>
            latest.uid === value.uid && latest.place === place && latest.goneSince === undefined ? undefined : { ...latest, ...value },
          );
        return;
      }
      case 'enrol':
        if (object === undefined) return;
        await this.#setBinding(id, { generation: 0 });
        await enrolWanted(this.#options, nodeUuid, this.#wanted(object, username));
        logger.info({ object: name, node: nodeUuid }, 'a machine is enrolled by its object');
        this.#fresh.add(name);
        this.#tell('Enrolled', object, `enrolled as the machine ${nodeUuid}`);
        return;
      case 'apply': {
        if (object === undefined) return;
        const changed = await applyWanted(this.#options, nodeUuid, this.#wanted(object, username));
        await this.#setBinding(id, { generation: object.generation });
        const isFirst = this.#fresh.delete(name);
        if (changed.length > 0 && !isFirst)
          this.#tell('Corrected', object, `generation ${object.generation} of the spec has changed the machine's ${changed.join(', ')}`);
        return;
      }
      case 'rename user':
        await renameUser(this.#options, nodeUuid, step.username);
        if (object) this.#tell('Corrected', object, `the user of its BMC is ${step.username} now, as its Secret says`);
        return;
      case 'release':
        await setMaintenance({ store, clock }, nodeUuid, false);
        logger.info({ object: name, node: nodeUuid }, 'the object is there again, and its machine is no longer held');
        if (object) this.#tell('Released', object, 'the object is there again, and its machine is no longer held');
        return;
      case 'note gone':
        return this.#setBinding(id, { goneSince: clock.now() });
      case 'hold':
        await setMaintenance({ store, clock }, nodeUuid, true, step.reason);
        logger.warn(
          { object: name, node: nodeUuid, instance: node?.instance?.uuid },
          'the object was deleted: its machine is held, and nothing of it is changed',
        );
        this.#tellGone('Held', binding, `the object was deleted: ${this.#heldUntil(node)}`, true);
        return;
      case 'unenrol':
        await unenrol(this.#options, nodeUuid);
        logger.info({ object: name, node: nodeUuid }, 'the object was deleted, and the record of its machine is removed');
        this.#tellGone('Withdrawn', binding, 'the object was deleted, and the record of its machine is removed');
        return;
      case 'forget': {
        const known = await store.get(bindingKind, id);
        if (known?.value.goneSince !== undefined) await store.delete(bindingKind, known, known.version);
        this.#names.delete(nodeUuid);
        this.#writtenAt.delete(name);
        this.#refused.delete(name);
        this.#fresh.delete(name);
        return;
      }
    }
  }

  #heldUntil(node: NodeRecord | undefined): string {
    const { instance } = node ?? {};
    if (instance)
      return `its machine is held in maintenance with its instance ${instance.name}, until the object is made again or the instance is deleted`;
    return `its machine is held in maintenance, and its record removed after ${this.#options.forgetAfterMs / 1000} s, once nothing is under way`;
  }

  #tell(change: ObjectChange, { name, uid }: { readonly name: string; readonly uid: string }, message: string, warning = false): void {
    this.#options.onNews({ change, object: { namespace: this.#options.namespace, name, uid }, message, warning });
  }

  #tellGone(change: ObjectChange, binding: Binding | undefined, message: string, warning = false): void {
    if (binding) this.#tell(change, binding, message, warning);
  }

  async #setBinding(id: string, change: Partial<Pick<Binding, 'generation' | 'goneSince'>>): Promise<void> {
    await modify(this.#options.store, bindingKind, id, (latest) =>
      Object.entries(change).every(([key, value]) => latest[key] === value) ? undefined : { ...latest, ...change },
    );
  }

  /** Throws why it cannot be had. */
  #wanted(object: MachineObject, username: string | undefined): WantedMachine {
    if ('problems' in object.spec) throw objectErrors.OBJECT_INVALID({ problems: object.spec.problems });
    const { name: secret } = object.spec.value.bmc.credentialsSecretRef;
    if (username === undefined) throw objectErrors.OBJECT_CREDENTIALS({ secret, directory: this.#options.credentialsDirectory });
    return wantedMachine(object.name, object.spec.value, username);
  }

  async #usernameOf({ spec }: MachineObject): Promise<string | undefined> {
    if ('problems' in spec) return undefined;
    const ref = mountedRef(spec.value.bmc.credentialsSecretRef.name);
    try {
      await this.#options.secrets.read(ref);
      return await this.#options.username(ref);
    } catch (error) {
      const unknown = machineErrors.SECRET_UNKNOWN({ name: ref }).code;
      if (asCoded(error)?.code === unknown) return undefined;
      throw error;
    }
  }

  /** Writes the status where it says something new, and is ours to write. */
  async #report(name: string, object: MachineObject | undefined, node: NodeRecord | undefined): Promise<void> {
    const { source, clock, isAlive, memberId } = this.#options;
    if (object === undefined) return;
    const status = statusOf(object, node, this.#verdict(object), clock.now());
    if (sameStatus(object.status, status)) return;
    const owner = node?.owner;
    if (owner !== undefined && owner !== memberId() && (await isAlive(owner))) return;
    const dueMs = (this.#writtenAt.get(name) ?? -STATUS_INTERVAL_MS) + STATUS_INTERVAL_MS - clock.monotonic();
    if (dueMs > 0) return this.#markLater(name, dueMs);
    this.#writtenAt.set(name, clock.monotonic());
    const outcome = await source.updateStatus(object, status, this.#stop.signal);
    if (outcome.kind === 'written') this.#feed.learn(outcome.object);
    else this.#markLater(name, RETRY_MS);
    await sleep(clock, STATUS_GAP_MS, this.#stop.signal);
  }

  #verdict(object: MachineObject): Verdict {
    const refused = this.#refused.get(object.name);
    if (refused?.uid === object.uid && refused.generation === object.generation) return refused.verdict;
    const suite = 'value' in object.spec ? object.spec.value.bmc.cipherSuite : undefined;
    if (suite === undefined || String(suite) === this.#options.cipherSuite) return { accepted: true };
    return {
      accepted: true,
      note: `bmc.cipherSuite ${suite} has no effect: [ipmi] cipher_suite is ${this.#options.cipherSuite} for all BMCs`,
    };
  }
}
