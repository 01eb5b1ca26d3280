/** HTTP and HTTPS asked by Node: a certificate may be pinned, and is judged before anything is sent. */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { CertificateRefused, type HttpClientRequest, type HttpClientResponse, type HttpClientStream } from './network.ts';
import { collect, flatten } from './node-http-message.ts';

const DEFAULT_CLIENT_BODY_BYTES = 16 * 1024 * 1024;

/** Idle connections hold no process up, and the server ends them in its own time. */
const keptOpen = { http: new HttpAgent({ keepAlive: true }), https: new HttpsAgent({ keepAlive: true }) };

export async function sendRequest(options: HttpClientRequest): Promise<HttpClientResponse> {
  const response = await openRequest(options);
  const body = await collect(response, options.maxBodyBytes ?? DEFAULT_CLIENT_BODY_BYTES);
  if (!body) throw new Error(`the answer of ${options.url} is larger than allowed`);
  return { status: response.statusCode ?? 0, headers: flatten(response.headers), body };
}

export async function streamRequest(options: HttpClientRequest): Promise<HttpClientStream> {
  const response = await openRequest({ ...options, keepAlive: false });
  return { status: response.statusCode ?? 0, headers: flatten(response.headers), body: piecesOf(response, options.signal) };
}

async function* piecesOf(response: IncomingMessage, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of response) yield piece as Uint8Array;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw response.complete ? error : new Error('the connection ended within the answer', { cause: error }); // Node says "aborted"
  }
  signal?.throwIfAborted(); // Node ends the loop as if that were all
  if (!response.complete) throw new Error('the connection ended within the answer');
}

/**
 * A connection to a server whose certificate was looked at. Node would be told to trust nobody or to ask nobody; here the handshake ends first, then the certificate is
 * judged, and only then is there a socket that a request could go out on.
 */
function judgedConnection({ url, ca, certificate, localAddress, signal }: HttpClientRequest): Promise<TLSSocket> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      host,
      port: port === '' ? 443 : Number(port),
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: false, // judged below, by the authorities as Node found it or by the fingerprint
      ...(isIP(host) === 0 && { servername: host }),
      ...(ca !== undefined && { ca }),
      ...(localAddress && { localAddress }),
    });
    const stop = (error: unknown): void => {
      signal?.removeEventListener('abort', onAbort);
      socket.destroy();
      reject(error);
    };
    const onAbort = (): void => stop(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) onAbort();
    const onError = (error: NodeJS.ErrnoException): void => stop(readable(error));
    socket.once('error', onError);
    socket.once('secureConnect', () => {
      const shown = (socket.getPeerCertificate().fingerprint256 ?? '').replaceAll(':', '').toLowerCase();
      const pin = certificate?.sha256;
      if (pin !== undefined && (shown === '' || shown !== pin)) return stop(new CertificateRefused('another one is pinned', shown));
      if (pin === undefined && !socket.authorized) return stop(new CertificateRefused(String(socket.authorizationError), shown));
      signal?.removeEventListener('abort', onAbort);
      socket.off('error', onError);
      resolve(socket);
    });
  });
}

const IDLE_MS = 75_000;
/** Over all servers; a TLS connection is some 50 KB. */
const MOST_IDLE = 512;

/** OpenSSL tells over two lines, with addresses and places in its sources, that the other side sent something else. */
function readable(error: NodeJS.ErrnoException): Error {
  if (error.code !== 'EPROTO' && !error.code?.startsWith('ERR_SSL_')) return error;
  const plain = error.message.includes('wrong version number') || error.message.includes('packet length too long');
  const reason = error.message.split(':').slice(-4, -3)[0]?.trim();
  const told = plain
    ? 'what listens there does not speak TLS'
    : `the TLS handshake failed${reason === undefined || reason === '' ? '' : `: ${reason}`}`;
  return Object.assign(new Error(told, { cause: error }), { code: error.code });
}

/** Keeps judged connections open, for requests that trust the same: each new one is judged anew. */
class JudgingAgent extends HttpsAgent {
  constructor() {
    super({ keepAlive: true, maxFreeSockets: 1, timeout: IDLE_MS });
  }

  override getName(options?: object): string {
    const { url, ca, certificate, localAddress } = judgedBy(options);
    return JSON.stringify([new URL(url).host, localAddress, certificate?.sha256, ca]);
  }

  override createConnection(options: object, callback?: (error: Error | null, stream: Duplex) => void): undefined {
    judgedConnection(judgedBy(options)).then(
      (socket) => callback?.(null, socket),
      (error: Error) => callback?.(error, undefined as unknown as Duplex), // Node takes none with an error; its type does not know
    );
  }

  override keepSocketAlive(socket: Duplex): boolean {
    const idle = Object.values(this.freeSockets).reduce((sum, sockets) => sum + (sockets?.length ?? 0), 0);
    const kept: unknown = super.keepSocketAlive(socket); // false where the server said that it closes at once; the types say void
    return idle <= MOST_IDLE && kept !== false;
  }
}

function judgedBy(options: object | undefined): HttpClientRequest {
  return (options as { judged: HttpClientRequest }).judged;
}

const keptJudged = new JudgingAgent();

/** Resolves with the head of the answer. */
async function openRequest(options: HttpClientRequest): Promise<IncomingMessage> {
  const judging = options.certificate !== undefined && options.url.startsWith('https:');
  const judged = judging && !options.keepAlive ? await judgedConnection(options) : undefined;
  return new Promise((resolve, reject) => {
    const { signal } = options;
    const secure = options.url.startsWith('https:');
    const send = secure ? httpsRequest : httpRequest;
    const outgoing = send(options.url, {
      method: options.method ?? 'GET',
      headers: {
        ...options.headers,
        ...(options.body !== undefined && { 'content-length': Buffer.byteLength(options.body) }),
      },
      // without an agent: one connection a request, nothing lingers after close; and with none at all Node takes the connection that it is given
      ...(judged
        ? { createConnection: () => judged }
        : { agent: judging ? keptJudged : options.keepAlive ? keptOpen[secure ? 'https' : 'http'] : false }),
      ...(judging && { judged: options }),
      ...(options.localAddress && { localAddress: options.localAddress }),
      ...(options.ca !== undefined && { ca: options.ca }),
      ...(signal && { signal }),
    });
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      // the server closed the kept connection just then; on one of its own the same request gets through, if anybody is there
      if (outgoing.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE') && !signal?.aborted)
        openRequest({ ...options, keepAlive: false }).then(resolve, reject);
      else reject(signal?.aborted ? signal.reason : readable(error)); // after the answer it is told to its reader
    });
    outgoing.once('response', resolve);
    outgoing.end(options.body);
  });
}
