/**
 * What coordination needs of a ZooKeeper client, and no more: one session over whatever connections it takes. Two stand behind it:
 * node-zookeeper-client on real sockets, and a model of an ensemble on a virtual clock.
 */
import type { Clock } from '../../core/clock.ts';

export interface ZooKeeperServer {
  readonly host: string;
  readonly port: number;
}

/** `expired` and `refused` (authentication) are final: the session is over and the client must be abandoned. */
export type ZooKeeperState = 'connected' | 'disconnected' | 'expired' | 'refused';

export type ZooKeeperErrorCode = 'CONNECTION_LOSS' | 'NODE_EXISTS' | 'NO_NODE' | 'NOT_EMPTY' | 'SESSION_EXPIRED' | 'OTHER';

export class ZooKeeperError extends Error {
  constructor(
    readonly code: ZooKeeperErrorCode,
    message: string,
  ) {
    super(message);
    this.name = 'ZooKeeperError';
  }
}

/** Calls reject with ZooKeeperError. After `expired` and after `abandon` a call may stay without an answer for ever. */
export interface ZooKeeperClient {
  /** In hexadecimal; all zeros before the first `connected`. */
  sessionId(): string;
  /** As the server granted it; as asked for before the first `connected`. */
  sessionTimeoutMs(): number;
  /** The path as created: with ten digits at its end when sequential. */
  create(path: string, mode: 'persistent' | 'ephemeral sequential'): Promise<string>;
  /** `onChange` is called once, at the next change after this answer. */
  children(path: string, onChange?: () => void): Promise<string[]>;
  exists(path: string, onChange?: () => void): Promise<boolean>;
  /** Writes nothing new to the node. A write goes through the whole ensemble, so what this session reads next is no older than this call. */
  touch(path: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Drops the connection or the attempt at one; the session goes on at the next server. */
  reconnect(): void;
  /** Ends the session, so that its ephemeral nodes vanish at once. Settles soon, even when no server answers. */
  close(): Promise<void>;
  /** Drops everything at once and tells nobody: the session runs out in the server's time. */
  abandon(): void;
}

export interface ZooKeeperOptions {
  readonly servers: readonly ZooKeeperServer[];
  /** What to ask for; the server grants between 2 and 20 of its ticks. */
  readonly sessionTimeoutMs: number;
  readonly clock: Clock;
  readonly onState: (state: ZooKeeperState) => void;
}

export type ConnectZooKeeper = (options: ZooKeeperOptions) => ZooKeeperClient;
