/** Addresses of Node's servers and their peers. */
import type { Server } from 'node:net';
import type { Endpoint } from './network.ts';

/** Node reports IPv4 peers of a dual-stack socket as ::ffff:192.0.2.1. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address;
}

/** Resolves when it listens, to where. */
export function boundTo(server: Server, address: string | undefined, port: number): Promise<Endpoint> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, ...(address && { host: address }) }, () => {
      server.off('error', reject);
      const bound = server.address();
      if (bound === null || typeof bound === 'string') reject(new Error('the listener has no address'));
      else resolve({ address: bound.address, port: bound.port });
    });
  });
}
