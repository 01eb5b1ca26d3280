/**
 * One session with ZooKeeper under our own watchdog. The client library has no read time-out: a server that is stopped but keeps its
 * connections leaves it "connected" for ever, while the rest of the ensemble lets the session run out. So this one exchanges a small
 * question every sixth of the session's time, moves on to another server when an answer takes a quarter of it, and gives the
 * session up at two thirds after the *sending* of the last question that was answered: the server heard of us then or later, so it counts us
 * alive for a third of the time beyond.
 */
import type { Clock, Timer } from '../../core/clock.ts';
import { coordinationErrors } from '../errors.ts';
import {
  type ConnectZooKeeper,
  type ZooKeeperClient,
  ZooKeeperError,
  type ZooKeeperServer,
  type ZooKeeperState,
} from './zookeeper-client.ts';

export interface LiveSessionOptions {
  readonly connect: ConnectZooKeeper;
  readonly servers: readonly ZooKeeperServer[];
  readonly sessionTimeoutMs: number;
  readonly clock: Clock;
}

export class LiveSession {
  readonly #options: LiveSessionOptions;
  readonly #clock: Clock;
  readonly #client: ZooKeeperClient;
  readonly #lost = new AbortController();
  readonly #waiting = new Set<() => void>();
  readonly #onConnected = new Set<() => void>();
  #state: ZooKeeperState = 'disconnected';
  /** Monotonic time at which the last question that was answered was sent; the start, before. */
  #confirmedAt: number;
  /** Since when the server owes us an answer, or a connection. */
  #owingSince: number;
  #probing = false;
  #watchdog: Timer | undefined;
  #beat: Timer | undefined;
  #nodes = 0;

  constructor(options: LiveSessionOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#confirmedAt = this.#owingSince = this.#clock.monotonic();
    this.#client = options.connect({ ...options, onState: (state) => this.#onState(state) });
    this.#watch();
    this.#scheduleBeat();
  }

  /** Aborts when the session is over or may be over. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  get id(): string {
    return this.#client.sessionId();
  }

  /** Calls back at each reconnection: watches are set again by the client, but reading again costs nothing and asks nobody to be trusted. */
  onReconnected(handler: () => void): { close(): void } {
    this.#onConnected.add(handler);
    return { close: () => this.#onConnected.delete(handler) };
  }

  /** Makes `path` and what leads to it. Asks first: who may not write above our part of the tree need not. */
  async ensure(path: string): Promise<void> {
    const segments = path.split('/').slice(1);
    for (let length = 1; length <= segments.length; length++) {
      const part = `/${segments.slice(0, length).join('/')}`;
      if (await this.exists(part)) continue;
      await this.#again((client) => client.create(part, 'persistent')).catch(ignore('NODE_EXISTS'));
    }
  }

  /**
   * Creates an ephemeral node `<label><session>.<n>-<sequence>`, and the folder if need be, and gives its name. The answer may get lost with the connection when the node
   * has been made; then it is recognised by its name, so that no place in a line is ever held by nobody.
   */
  async createEphemeral(folder: string, label: string): Promise<string> {
    await this.#connected();
    this.#nodes += 1;
    const start = `${label}${this.id}.${this.#nodes}-`;
    for (let tries = 1; ; tries++) {
      try {
        const path = await this.#once((client) => client.create(`${folder}/${start}`, 'ephemeral sequential'));
        const name = path.slice(path.lastIndexOf('/') + 1);
        if (tries > 1) await this.#removeTwins(folder, start, name);
        return name;
      } catch (error) {
        if (isCode(error, 'NO_NODE')) {
          await this.ensure(folder);
          continue;
        }
        if (!isCode(error, 'CONNECTION_LOSS')) throw error;
      }
      const made = (await this.children(folder)).find((name) => name.startsWith(start));
      if (made !== undefined) return made;
    }
  }

  /** Makes `path` when it is not there: somebody may have emptied the tree. */
  async children(path: string, onChange?: () => void): Promise<string[]> {
    for (;;) {
      try {
        return await this.#again((client) => client.children(path, onChange));
      } catch (error) {
        if (!isCode(error, 'NO_NODE')) throw error;
        await this.ensure(path);
      }
    }
  }

  exists(path: string, onChange?: () => void): Promise<boolean> {
    return this.#again((client) => client.exists(path, onChange));
  }

  /** What is read after this is no older than the call, whichever server answers. */
  async catchUp(path: string): Promise<void> {
    await this.#again((client) => client.touch(path)).catch(ignore('NO_NODE')); // a write that fails went through the ensemble too
  }

  /** Harmless when it is not there. Ends early when the session is lost: then the node goes with it. */
  async remove(path: string): Promise<void> {
    await this.#again((client) => client.remove(path)).catch(ignore('NO_NODE'));
  }

  /** Ends the session in good order: its nodes vanish at once. `reason` is what those hear who still use it. */
  async close(reason: string): Promise<void> {
    if (this.#end(this.#unreachable(reason))) await this.#client.close();
  }

  #onState(state: ZooKeeperState): void {
    if (this.#lost.signal.aborted) return;
    if (state === 'expired' || state === 'refused') {
      this.#lose(state === 'expired' ? 'the session expired' : 'it refused our credentials');
      return;
    }
    this.#state = state;
    this.#owingSince = this.#clock.monotonic();
    this.#probing = false; // its answer would have come over the old connection
    if (state !== 'connected') return;
    this.#watch(); // the server may have granted another time than we asked for
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
    for (const handler of this.#onConnected) handler();
    this.#probe();
  }

  #scheduleBeat(): void {
    this.#beat = this.#clock.after(this.#client.sessionTimeoutMs() / 6, () => {
      if (this.#lost.signal.aborted) return;
      const owing = this.#state !== 'connected' || this.#probing;
      if (owing && this.#clock.monotonic() - this.#owingSince >= this.#client.sessionTimeoutMs() / 4) {
        this.#owingSince = this.#clock.monotonic();
        this.#client.reconnect();
      } else {
        this.#probe();
      }
      if (!this.#lost.signal.aborted) this.#scheduleBeat();
    });
  }

  #probe(): void {
    if (this.#state !== 'connected' || this.#probing) return;
    this.#probing = true;
    const sentAt = this.#clock.monotonic();
    this.#owingSince = sentAt;
    // Any question does: each packet of ours starts the session's time anew at the server that gets it.
    this.#client.exists('/').then(
      () => {
        if (this.#owingSince === sentAt) this.#probing = false;
        this.#confirm(sentAt);
      },
      () => undefined, // the state tells
    );
  }

  #confirm(sentAt: number): void {
    if (sentAt <= this.#confirmedAt || this.#lost.signal.aborted) return;
    this.#confirmedAt = sentAt;
    this.#watch();
  }

  /** Sets the watchdog, or bites at once: when the process was suspended, the answer that comes first may be older than the limit. */
  #watch(): void {
    this.#watchdog?.cancel();
    const limitMs = (this.#client.sessionTimeoutMs() * 2) / 3;
    const leftMs = this.#confirmedAt + limitMs - this.#clock.monotonic();
    const bite = (): void => this.#lose(`no answer for ${Math.round(limitMs)} ms, two thirds of the session's time`);
    if (leftMs <= 0) bite();
    else this.#watchdog = this.#clock.after(leftMs, bite);
  }

  #lose(reason: string): void {
    // Not closed: whoever works on the strength of this session has the rest of its time to stop before others take over.
    if (this.#end(this.#unreachable(reason))) this.#client.abandon();
  }

  #end(reason: Error): boolean {
    if (this.#lost.signal.aborted) return false;
    this.#watchdog?.cancel();
    this.#beat?.cancel();
    this.#lost.abort(reason);
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
    this.#onConnected.clear();
    return true;
  }

  #unreachable(reason: string): Error {
    const servers = this.#options.servers.map(({ host, port }) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`));
    return coordinationErrors.COORDINATION_UNREACHABLE({ servers: servers.join(','), reason });
  }

  async #connected(): Promise<void> {
    if (this.#state !== 'connected' && !this.#lost.signal.aborted) await new Promise<void>((resolve) => this.#waiting.add(resolve));
    this.#lost.signal.throwIfAborted();
  }

  /** Repeats `work` over reconnections: only what may happen twice. */
  async #again<T>(work: (client: ZooKeeperClient) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await this.#once(work);
      } catch (error) {
        if (!isCode(error, 'CONNECTION_LOSS')) throw error;
      }
    }
  }

  async #once<T>(work: (client: ZooKeeperClient) => Promise<T>): Promise<T> {
    await this.#connected();
    const sentAt = this.#clock.monotonic();
    // The client forgets its queue when the session expires: what is not answered by then never is.
    const { promise: lost, reject } = Promise.withResolvers<never>();
    const onLost = (): void => reject(this.#lost.signal.reason);
    this.#lost.signal.addEventListener('abort', onLost, { once: true });
    try {
      const result = await Promise.race([work(this.#client), lost]);
      this.#confirm(sentAt);
      return result;
    } catch (error) {
      if (isCode(error, 'SESSION_EXPIRED')) this.#lose('the session expired');
      this.#lost.signal.throwIfAborted();
      throw error;
    } finally {
      this.#lost.signal.removeEventListener('abort', onLost);
    }
  }

  async #removeTwins(folder: string, start: string, mine: string): Promise<void> {
    for (const name of await this.children(folder)) {
      if (name !== mine && name.startsWith(start)) await this.remove(`${folder}/${name}`);
    }
  }
}

function isCode(error: unknown, code: ZooKeeperError['code']): boolean {
  return error instanceof ZooKeeperError && error.code === code;
}

function ignore(code: ZooKeeperError['code']): (error: unknown) => undefined {
  return (error) => {
    if (!isCode(error, code)) throw error;
    return undefined;
  };
}
