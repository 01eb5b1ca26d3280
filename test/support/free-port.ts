/** Ports for servers that cannot be told "any". */
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

/** Below 32,768, from where Linux gives ports out itself: there a connection of somebody else may take one before its server has started. */
const FIRST = 10_000;
const END = 29_000;
const given = new Set<number>();

/** A port of 127.0.0.1 that nobody has, by TCP and by UDP, and that has not been given out before. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, END);
    if (given.has(port)) continue;
    given.add(port);
    if ((await isFree(port)) && (await isFreeForDatagrams(port))) return port;
  }
}

/** Of TCP. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

function isFreeForDatagrams(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => socket.close(() => resolve(false)));
    socket.bind(port, '127.0.0.1', () => socket.close(() => resolve(true)));
  });
}
