/** The part of node-zookeeper-client 1.1.3 that we use. `connectionManager` is its inside: see node-zookeeper.ts for why we reach there. */
declare module 'node-zookeeper-client' {
  import type { EventEmitter } from 'node:events';

  interface Exception extends Error {
    getCode(): number;
  }

  interface ConnectionManager extends EventEmitter {
    servers: readonly { host: string; port: number }[];
    socket?: { destroy(): void };
    connectTimeoutHandler: NodeJS.Timeout | null;
    pendingBuffer: Uint8Array | null;
    findNextServer(callback: (server: { host: string; port: number }) => void): void;
    onSocketData(buffer: Uint8Array): void;
    setState(state: number): void;
  }

  interface Client extends EventEmitter {
    readonly connectionManager: ConnectionManager;
    connect(): void;
    close(): void;
    getSessionId(): Buffer;
    getSessionTimeout(): number;
    create(path: string, mode: number, callback: (error: Exception | null | undefined, path: string) => void): void;
    getChildren(
      path: string,
      watcher: (() => void) | undefined,
      callback: (error: Exception | null | undefined, children: string[]) => void,
    ): void;
    exists(
      path: string,
      watcher: (() => void) | undefined,
      callback: (error: Exception | null | undefined, stat: object | null) => void,
    ): void;
    setData(path: string, data: Buffer, version: number, callback: (error: Exception | null | undefined) => void): void;
    remove(path: string, version: number, callback: (error: Exception | null | undefined) => void): void;
  }

  const zookeeper: {
    createClient(servers: string, options: { sessionTimeout: number; retries: number; spinDelay: number }): Client;
    readonly CreateMode: { readonly PERSISTENT: number; readonly EPHEMERAL_SEQUENTIAL: number };
    readonly Exception: { readonly [name: string]: number };
  };
  export = zookeeper;
}
