/**
 * ZooKeeper over real sockets: node-zookeeper-client 1.1.3 (the exact version, since this reaches into its connection manager) with what it
 * lacks for leases. What is corrected here, and why each is needed, is listed in docs/decisions/0002-zookeeper-client.md.
 */
import zookeeper from 'node-zookeeper-client';
import type { Timer } from '../../core/clock.ts';
import { type ConnectZooKeeper, ZooKeeperError, type ZooKeeperErrorCode } from './zookeeper-client.ts';

/** States of its connection manager; index.js of the package does not export them. */
const DISCONNECTED = 0;
const CONNECTED = 2;
const CLOSING = -1;
const CLOSED = -2;
const SESSION_EXPIRED = -3;
const AUTHENTICATION_FAILED = -4;

/** How long `close` waits for the server to confirm the end of the session. */
const CLOSE_LIMIT_MS = 1_000;

export const connectZooKeeper: ConnectZooKeeper = ({ servers, sessionTimeoutMs, clock, onState }) => {
  // The list of servers is our own, given below: its parser splits IPv6 addresses at their colons.
  const client = zookeeper.createClient('localhost', { sessionTimeout: sessionTimeoutMs, retries: 0, spinDelay: 0 });
  const manager = client.connectionManager;
  const betweenRoundsMs = Math.min(1_000, sessionTimeoutMs / 10);
  const closed = Promise.withResolvers<void>();
  let ended = false;
  let attempts = 0;
  let pause: Timer | undefined;

  manager.servers = servers;
  // Its own waits by setTimeout and Math.random, and connects even after it was closed.
  manager.findNextServer = (callback) => {
    const server = servers[attempts % servers.length];
    const delayMs = attempts > 0 && attempts % servers.length === 0 ? betweenRoundsMs : 0;
    attempts += 1;
    pause = clock.after(delayMs, () => {
      if (!ended && server !== undefined) callback(server);
    });
  };
  // An answer that it cannot parse, or an error code newer than its table, is thrown out of a socket's handler and would end the process.
  const parse = manager.onSocketData;
  manager.onSocketData = (buffer) => {
    try {
      parse.call(manager, buffer);
    } catch {
      manager.socket?.destroy();
    }
  };
  manager.on('state', (state: number) => {
    if (state === CLOSED) closed.resolve();
    if (ended) return;
    if (state === CONNECTED) {
      attempts = attempts % servers.length || 1;
      onState('connected');
    } else if (state === DISCONNECTED) {
      manager.pendingBuffer = null; // it would take half an answer of the old connection for the beginning of the next
      onState('disconnected');
    } else if (state === SESSION_EXPIRED) onState('expired');
    else if (state === AUTHENTICATION_FAILED) onState('refused');
  });

  /** Its timer outlives the connection that it was set for, and would destroy the next one. */
  const drop = (): void => {
    if (manager.connectTimeoutHandler !== null) clearTimeout(manager.connectTimeoutHandler);
    manager.socket?.destroy();
  };
  const abandon = (): void => {
    ended = true;
    pause?.cancel();
    manager.setState(CLOSING); // the only state in which it does not connect again
    drop();
  };

  client.connect();
  return {
    sessionId: () => client.getSessionId().toString('hex'),
    sessionTimeoutMs: () => client.getSessionTimeout(),
    create: (path, mode) =>
      call((done) =>
        client.create(path, mode === 'persistent' ? zookeeper.CreateMode.PERSISTENT : zookeeper.CreateMode.EPHEMERAL_SEQUENTIAL, done),
      ),
    children: (path, onChange) => call((done) => client.getChildren(path, onChange, done)),
    exists: async (path, onChange) => (await call<object | null>((done) => client.exists(path, onChange, done))) !== null,
    touch: (path) => call((done) => client.setData(path, Buffer.alloc(0), -1, done)),
    remove: (path) => call((done) => client.remove(path, -1, done)),
    reconnect: drop,
    abandon,
    async close() {
      if (ended) return;
      ended = true;
      pause?.cancel();
      client.close();
      const limit = clock.after(CLOSE_LIMIT_MS, closed.resolve);
      await closed.promise;
      limit.cancel();
      drop();
    },
  };
};

function call<T>(start: (done: (error: Error | null | undefined, result?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, result) => {
      if (error) reject(translated(error));
      else resolve(result as T);
    });
  });
}

const codes = new Map<unknown, ZooKeeperErrorCode>(
  (['CONNECTION_LOSS', 'NODE_EXISTS', 'NO_NODE', 'NOT_EMPTY', 'SESSION_EXPIRED'] as const).map((name) => [zookeeper.Exception[name], name]),
);

function translated(error: Error): ZooKeeperError {
  const code = 'code' in error ? codes.get(error.code) : undefined;
  return new ZooKeeperError(code ?? 'OTHER', error.message);
}
