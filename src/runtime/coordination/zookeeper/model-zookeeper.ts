/**
 * An ensemble as a client sees it, in memory and on an injected clock: sessions that run out, ephemeral and sequential nodes, one-shot watches,
 * answers that get lost after the deed. For simulations and tests; the same suite runs on it and on the real one.
 */
import type { Clock, Timer } from '../../core/clock.ts';
import {
  type ConnectZooKeeper,
  type ZooKeeperClient,
  ZooKeeperError,
  type ZooKeeperErrorCode,
  type ZooKeeperState,
} from './zookeeper-client.ts';

export interface ModelZooKeeperOptions {
  readonly clock: Clock;
  /** One way. Default 1. */
  readonly latencyMs?: number;
  /** Least session time that it grants. Default 4,000, as with tickTime 2,000. */
  readonly minSessionMs?: number;
}

interface Session {
  readonly id: string;
  readonly timeoutMs: number;
  expiry: Timer;
}

interface Node {
  readonly owner: Session | undefined;
  /** Children made so far: the next sequence number. */
  made: number;
}

interface WatchEntry {
  readonly path: string;
  readonly kind: 'children' | 'node';
  readonly client: ModelClient;
  readonly call: () => void;
}

export class ModelZooKeeper {
  readonly clock: Clock;
  readonly latencyMs: number;
  readonly #minSessionMs: number;
  readonly #nodes = new Map<string, Node>([['/', { owner: undefined, made: 0 }]]);
  readonly #sessions = new Map<string, Session>();
  readonly #clients = new Set<ModelClient>();
  #watches = new Set<WatchEntry>();
  #sessionCount = 0;
  #frozen = false;
  #loseAnswers = 0;

  constructor({ clock, latencyMs = 1, minSessionMs = 4_000 }: ModelZooKeeperOptions) {
    this.clock = clock;
    this.latencyMs = latencyMs;
    this.#minSessionMs = minSessionMs;
  }

  readonly connect: ConnectZooKeeper = (options) => {
    const client = new ModelClient(this, options.sessionTimeoutMs, options.onState);
    this.#clients.add(client);
    client.reconnect();
    return client;
  };

  /** Every path, sorted. */
  paths(): string[] {
    return [...this.#nodes.keys()].sort();
  }

  sessions(): string[] {
    return [...this.#sessions.keys()];
  }

  /** The whole process stops, with its clock (SIGSTOP); connections stay. `thaw` lets it go on: sessions have their whole time again. */
  freeze(): void {
    this.#frozen = true;
    for (const session of this.#sessions.values()) session.expiry.cancel();
  }

  thaw(): void {
    this.#frozen = false;
    for (const session of this.#sessions.values()) this.#touch(session);
    for (const client of this.#clients) client.flush();
  }

  /** Connections break, data and sessions stay. */
  dropConnections(): void {
    for (const client of this.#clients) client.drop();
  }

  /** This client reaches nobody from now on, and is not told (cables, firewalls). The ensemble lets its session run out. */
  partition(sessionId: string): void {
    for (const client of this.#clients) if (client.sessionId() === sessionId) client.cut = true;
  }

  heal(): void {
    for (const client of this.#clients) {
      if (!client.cut) continue;
      client.cut = false;
      client.flush();
    }
  }

  expire(sessionId: string): void {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) return;
    session.expiry.cancel();
    this.#sessions.delete(sessionId);
    for (const [path, { owner }] of [...this.#nodes]) if (owner === session) this.#delete(path);
  }

  /** What an operator does with zkCli.sh: the node and all below it. */
  deleteAll(path: string): void {
    for (const other of this.paths().reverse()) if (other === path || other.startsWith(`${path}/`)) this.#delete(other);
  }

  /** The next `count` creations happen, but the connection breaks before their answer. */
  loseAnswersToCreate(count: number): void {
    this.#loseAnswers = count;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  /** Undefined: the session that was asked for is no more. */
  openSession(id: string | undefined, timeoutMs: number): { id: string; timeoutMs: number } | undefined {
    const known = id === undefined ? undefined : this.#sessions.get(id);
    if (id !== undefined && known === undefined) return undefined;
    if (known !== undefined) {
      this.#touch(known);
      return known;
    }
    this.#sessionCount += 1;
    const session: Session = {
      id: this.#sessionCount.toString(16).padStart(16, '0'),
      timeoutMs: Math.max(timeoutMs, this.#minSessionMs),
      expiry: { cancel: () => undefined },
    };
    this.#sessions.set(session.id, session);
    this.#touch(session);
    return session;
  }

  /** One request of a live session; throws ZooKeeperError. */
  perform<T>(sessionId: string, client: ModelClient, work: (tree: Tree) => T): T {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) throw failure('SESSION_EXPIRED', sessionId);
    this.#touch(session);
    return work({
      create: (path, mode) => this.#create(path, mode, session, client),
      children: (path) => this.#children(path),
      exists: (path) => this.#nodes.has(path),
      mustExist: (path) => this.#mustExist(path),
      remove: (path) => {
        this.#mustExist(path);
        if (this.#children(path).length > 0) throw failure('NOT_EMPTY', path);
        this.#delete(path);
      },
      watch: (path, kind, call) => this.#watches.add({ path, kind, client, call }),
    });
  }

  endSession(sessionId: string): void {
    this.expire(sessionId);
  }

  forget(client: ModelClient): void {
    this.#clients.delete(client);
    for (const watch of this.#watches) if (watch.client === client) this.#watches.delete(watch);
  }

  #create(path: string, mode: 'persistent' | 'ephemeral sequential', session: Session, client: ModelClient): string {
    const parent = parentOf(path);
    const folder = this.#nodes.get(parent);
    if (folder === undefined) throw failure('NO_NODE', path);
    const ephemeral = mode === 'ephemeral sequential';
    const actual = ephemeral ? `${path}${String(folder.made).padStart(10, '0')}` : path;
    if (this.#nodes.has(actual)) throw failure('NODE_EXISTS', path);
    folder.made += 1;
    this.#nodes.set(actual, { owner: ephemeral ? session : undefined, made: 0 });
    this.#fire(actual, 'node');
    this.#fire(parent, 'children');
    if (ephemeral && this.#loseAnswers > 0) {
      this.#loseAnswers -= 1;
      client.drop();
      throw failure('CONNECTION_LOSS', path);
    }
    return actual;
  }

  #children(path: string): string[] {
    this.#mustExist(path);
    const prefix = path === '/' ? '/' : `${path}/`;
    return [...this.#nodes.keys()]
      .filter((other) => other !== '/' && other.startsWith(prefix) && !other.slice(prefix.length).includes('/'))
      .map((other) => other.slice(prefix.length));
  }

  #mustExist(path: string): void {
    if (!this.#nodes.has(path)) throw failure('NO_NODE', path);
  }

  #delete(path: string): void {
    this.#nodes.delete(path);
    this.#fire(path, 'node');
    this.#fire(path, 'children');
    this.#fire(parentOf(path), 'children');
  }

  #fire(path: string, kind: 'children' | 'node'): void {
    for (const watch of [...this.#watches]) {
      if (watch.path !== path || watch.kind !== kind) continue;
      this.#watches.delete(watch);
      watch.client.deliver(watch.call);
    }
  }

  #touch(session: Session): void {
    session.expiry.cancel();
    if (!this.#frozen) session.expiry = this.clock.after(session.timeoutMs, () => this.expire(session.id));
  }
}

interface Tree {
  create(path: string, mode: 'persistent' | 'ephemeral sequential'): string;
  children(path: string): string[];
  exists(path: string): boolean;
  mustExist(path: string): void;
  remove(path: string): void;
  watch(path: string, kind: 'children' | 'node', call: () => void): void;
}

/** What travels: runs when it arrives, unless the connection that it was sent over is gone by then. */
interface Message {
  readonly connection: number;
  arrive(): void;
}

class ModelClient implements ZooKeeperClient {
  cut = false;
  readonly #model: ModelZooKeeper;
  readonly #onState: (state: ZooKeeperState) => void;
  #id: string | undefined;
  #timeoutMs: number;
  #connection = 0;
  #connected = false;
  #ended = false;
  /** Messages that wait for the other side to be reached or to go on. */
  #held: Message[] = [];
  readonly #pending = new Set<(error: ZooKeeperError) => void>();

  constructor(model: ModelZooKeeper, timeoutMs: number, onState: (state: ZooKeeperState) => void) {
    this.#model = model;
    this.#timeoutMs = timeoutMs;
    this.#onState = onState;
  }

  sessionId(): string {
    return this.#id ?? '0'.repeat(16);
  }

  sessionTimeoutMs(): number {
    return this.#timeoutMs;
  }

  create(path: string, mode: 'persistent' | 'ephemeral sequential'): Promise<string> {
    return this.#ask((tree) => tree.create(path, mode));
  }

  children(path: string, onChange?: () => void): Promise<string[]> {
    return this.#ask((tree) => {
      const children = tree.children(path);
      if (onChange) tree.watch(path, 'children', onChange);
      return children;
    });
  }

  exists(path: string, onChange?: () => void): Promise<boolean> {
    return this.#ask((tree) => {
      if (onChange) tree.watch(path, 'node', onChange);
      return tree.exists(path);
    });
  }

  touch(path: string): Promise<void> {
    return this.#ask((tree) => tree.mustExist(path));
  }

  remove(path: string): Promise<void> {
    return this.#ask((tree) => tree.remove(path));
  }

  reconnect(): void {
    this.drop();
    this.#dial();
  }

  /** The connection breaks; the client dials again by itself, as the real one does. */
  drop(): void {
    if (this.#ended) return;
    const wasUp = this.#connected;
    this.#connection += 1;
    this.#connected = false;
    this.#held = [];
    for (const lose of [...this.#pending]) lose(failure('CONNECTION_LOSS', 'the connection broke'));
    this.#pending.clear();
    if (!wasUp) return;
    this.#onState('disconnected');
    this.#dial();
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    if (this.#connected && !this.cut && !this.#model.frozen && this.#id !== undefined) this.#model.endSession(this.#id);
    this.abandon();
  }

  abandon(): void {
    this.#ended = true;
    this.#connected = false;
    this.#connection += 1;
    this.#model.forget(this);
  }

  /** A watch's event comes over the connection of the moment, or with the next: the real client asks for what it missed. */
  deliver(call: () => void): void {
    if (this.#connected) this.#send(call);
    else this.#missed.push(call);
  }

  flush(): void {
    for (const message of this.#held.splice(0)) this.#travel(message);
  }

  #missed: (() => void)[] = [];

  #dial(): void {
    if (this.#ended) return;
    this.#send(() => {
      const session = this.#model.openSession(this.#id, this.#timeoutMs);
      this.#send(() => {
        if (session === undefined) {
          this.#onState('expired');
          return;
        }
        this.#id = session.id;
        this.#timeoutMs = session.timeoutMs;
        this.#connected = true;
        this.#onState('connected');
        for (const call of this.#missed.splice(0)) this.#send(call);
      });
    });
  }

  #ask<T>(work: (tree: Tree) => T): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    if (!this.#connected) {
      reject(failure('CONNECTION_LOSS', 'not connected'));
      return promise;
    }
    const settle = (answer: () => void): void => {
      this.#pending.delete(reject);
      answer();
    };
    this.#pending.add(reject);
    const id = this.sessionId();
    this.#send(() => {
      let answer: () => void;
      try {
        const result = this.#model.perform(id, this, work);
        answer = () => resolve(result);
      } catch (error) {
        answer = () => reject(error);
      }
      this.#send(() => settle(answer));
    });
    return promise;
  }

  #send(arrive: () => void): void {
    this.#travel({ connection: this.#connection, arrive });
  }

  #travel(message: Message): void {
    this.#model.clock.after(this.#model.latencyMs, () => {
      if (this.#ended || message.connection !== this.#connection) return;
      if (this.cut || this.#model.frozen) this.#held.push(message);
      else message.arrive();
    });
  }
}

function failure(code: ZooKeeperErrorCode, what: string): ZooKeeperError {
  return new ZooKeeperError(code, `${code}: ${what}`);
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}
