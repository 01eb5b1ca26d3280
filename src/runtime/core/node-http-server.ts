/** HTTP and HTTPS served by Node: requests are read whole, answers may be streams. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { HttpHandler, HttpRequest, HttpServeOptions, HttpServer } from './network.ts';
import { boundTo, plainAddress } from './node-address.ts';
import { collect, flatten } from './node-http-message.ts';

const DEFAULT_SERVER_BODY_BYTES = 1024 * 1024;

export async function serveHttp(
  { address, port, maxBodyBytes = DEFAULT_SERVER_BODY_BYTES, tls }: HttpServeOptions,
  handler: HttpHandler,
): Promise<HttpServer> {
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => void answer(request, response, handler, maxBodyBytes);
  const secure = tls && createHttpsServer({ ...tls, minVersion: 'TLSv1.2' }, onRequest);
  const server = secure ?? createServer(onRequest);
  const local = await boundTo(server, address, port);
  const close: HttpServer['close'] = async (graceMs = 1000) => {
    server.closeIdleConnections();
    const timer = setTimeout(() => server.closeAllConnections(), graceMs);
    await new Promise<void>((resolve) => server.close(() => resolve()));
    clearTimeout(timer);
  };
  return { local, close, ...(secure && { renewTls: (renewed) => secure.setSecureContext({ ...renewed, minVersion: 'TLSv1.2' }) }) };
}

async function answer(incoming: IncomingMessage, outgoing: ServerResponse, handler: HttpHandler, maxBodyBytes: number): Promise<void> {
  const gone = new AbortController();
  outgoing.once('close', () => gone.abort(new Error('the client closed the connection')));
  try {
    const body = await collect(incoming, maxBodyBytes);
    if (!body) {
      outgoing
        .writeHead(413, { 'content-type': 'text/plain', connection: 'close' })
        .end(`The body is larger than ${maxBodyBytes} bytes.\n`);
      return;
    }
    const target = parseTarget(incoming.url ?? '/');
    if (!target) {
      outgoing.writeHead(400, { 'content-type': 'text/plain' }).end('The request target is not a valid path.\n');
      return;
    }
    const request: HttpRequest = {
      method: incoming.method ?? 'GET',
      path: target.path,
      query: target.query,
      headers: flatten(incoming.headers),
      body,
      remote: { address: plainAddress(incoming.socket.remoteAddress ?? ''), port: incoming.socket.remotePort ?? 0 },
      local: { address: plainAddress(incoming.socket.localAddress ?? ''), port: incoming.socket.localPort ?? 0 },
      signal: gone.signal,
    };
    const response = await handler(request);
    outgoing.writeHead(response.status, capitalised(response.headers ?? {}));
    if (response.body === undefined || typeof response.body === 'string' || response.body instanceof Uint8Array) {
      outgoing.end(response.body);
      return;
    }
    for await (const chunk of response.body) {
      if (gone.signal.aborted) return;
      if (!outgoing.write(chunk))
        await new Promise<void>((resolve) => {
          const settle = (): void => {
            outgoing.off('drain', settle);
            outgoing.off('close', settle);
            resolve();
          };
          outgoing.on('drain', settle);
          outgoing.on('close', settle);
        });
    }
    outgoing.end();
  } catch {
    // a handler reports its own failures as responses; what still arrives here must not take the process down
    if (!outgoing.headersSent) outgoing.writeHead(500, { 'content-type': 'text/plain' }).end('Internal error.\n');
    else outgoing.destroy();
  }
}

function parseTarget(url: string): { path: string; query: URLSearchParams } | undefined {
  const mark = url.indexOf('?');
  const raw = mark < 0 ? url : url.slice(0, mark);
  try {
    const path = decodeURIComponent(raw);
    if (!path.startsWith('/') || path.includes('\0')) return undefined;
    return { path, query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)) };
  } catch {
    return undefined; // a broken percent escape
  }
}

/** `Content-Length`, not `content-length`: names are case-insensitive (RFC 9110 section 5.1), but GRUB 2.06 looks for this spelling. */
function capitalised(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.replace(/(?<=^|-)[a-z]/g, (letter) => letter.toUpperCase()), value]),
  );
}
