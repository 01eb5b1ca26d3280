/** What a world's daemons are coordinated by, with the means to disturb it: one process's memory, or the model of ZooKeeper. */
import { type Coordination, MemoryCoordination, ModelZooKeeper, ZooKeeperCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import type { Clock } from 'cdk8s-baremetal-runtime/core/index';

export interface WorldGroup {
  /** As one more process sees it. */
  replica(): Coordination;
  /** For who only asks. */
  isAlive(memberId: string): Promise<boolean>;
  /** The member's process is gone without a word. */
  crash(memberId: string): void;
  /** The member reaches nobody from now on, nor they it. */
  partition(memberId: string): void;
}

export class MemoryGroup implements WorldGroup {
  readonly #memory: MemoryCoordination;

  constructor(clock: Clock) {
    this.#memory = new MemoryCoordination({ clock });
  }

  replica(): Coordination {
    return this.#memory;
  }

  isAlive(memberId: string): Promise<boolean> {
    return this.#memory.isAlive(memberId);
  }

  crash(memberId: string): void {
    this.#memory.crash(memberId);
  }

  partition(memberId: string): void {
    this.#memory.partition(memberId);
  }
}

export class ZooKeeperGroup implements WorldGroup {
  readonly zookeeper: ModelZooKeeper;
  readonly #clock: Clock;
  #watcher: ZooKeeperCoordination | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.zookeeper = new ModelZooKeeper({ clock });
  }

  replica(): ZooKeeperCoordination {
    const { connect } = this.zookeeper;
    return new ZooKeeperCoordination({ servers: [{ host: '127.0.0.1', port: 2181 }], path: '/bms', clock: this.#clock, connect });
  }

  isAlive(memberId: string): Promise<boolean> {
    this.#watcher ??= this.replica();
    return this.#watcher.isAlive(memberId);
  }

  /** Nobody tells the ensemble: the session runs out. */
  crash(memberId: string): void {
    this.partition(memberId);
  }

  partition(memberId: string): void {
    const session = sessionOf(memberId);
    if (session !== undefined) this.zookeeper.partition(session);
  }

  expire(memberId: string): void {
    const session = sessionOf(memberId);
    if (session !== undefined) this.zookeeper.expire(session);
  }
}

/** `<name>#<session>.<n>-<sequence>` */
function sessionOf(memberId: string): string | undefined {
  return /#([0-9a-f]+)\./.exec(memberId)?.[1];
}
