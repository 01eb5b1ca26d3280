/**
 * The API server through @kubernetes/client-node: its KubeConfig finds the server, the certificates and the credentials
 * (kubeconfig, in-cluster token, exec plugins, OIDC). Its generated clients and its Watch are not used, and connections are kept
 * here: docs/decisions/0004-kubernetes-client.md measures why.
 */
import { HttpMethod, KubeConfig, RequestContext } from '@kubernetes/client-node';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import { Agent, type Dispatcher, ProxyAgent } from 'undici';
import type { Transport, TransportRequest, TransportResponse } from './transport.ts';

/** Service account tokens are replaced on disk well before they expire; client-go looks once a minute, too. */
const CREDENTIALS_AGE_MS = 60_000;

interface Connection {
  readonly dispatcher: Dispatcher;
  readonly headers: Readonly<Record<string, string>>;
  readonly material: string;
  readonly takenAt: number;
}

export interface KubeConfigOptions {
  /** Path of a kubeconfig. Absent: $KUBECONFIG, ~/.kube/config, or the pod's service account, in this order. */
  readonly file?: string;
  readonly context?: string;
}

export function loadKubeConfig({ file, context }: KubeConfigOptions = {}): KubeConfig {
  const config = new KubeConfig();
  if (file === undefined) config.loadFromDefault();
  else config.loadFromFile(file);
  if (context !== undefined) config.setCurrentContext(context);
  return config;
}

export function clientNodeTransport(config: KubeConfig, clock: Clock): Transport {
  const cluster = config.getCurrentCluster();
  if (!cluster) throw new Error('the kubeconfig has no current cluster');
  const { origin, pathname } = new URL(cluster.server);
  const base = pathname.replace(/\/$/, '');
  const retired = new Set<Dispatcher>();
  let current: Connection | undefined;
  let renewing: Promise<Connection> | undefined;

  const renew = async (): Promise<Connection> => {
    const known = current;
    const fresh = await connect(config, origin, clock, known);
    current = fresh;
    if (known && known.dispatcher !== fresh.dispatcher) {
      retired.add(known.dispatcher);
      void known.dispatcher.close().finally(() => retired.delete(known.dispatcher)); // lets running exchanges end
    }
    return fresh;
  };

  /** Whoever asks meanwhile waits for the same: a plugin that is a program runs once, and no connections are made that nobody closes. */
  const connection = (): Connection | Promise<Connection> => {
    if (current && clock.monotonic() - current.takenAt < CREDENTIALS_AGE_MS) return current;
    renewing ??= renew().finally(() => {
      renewing = undefined;
    });
    return renewing;
  };

  return {
    exchange: async ({ method, path, headers, body, signal }: TransportRequest): Promise<TransportResponse> => {
      signal.throwIfAborted();
      const used = await connection();
      const answer = await used.dispatcher.request({
        origin,
        path: `${base}${path}`,
        method,
        headers: { ...headers, ...used.headers },
        signal,
        ...(body !== undefined && { body }),
        headersTimeout: 0, // the caller's signal carries the deadline
        bodyTimeout: 0,
      });
      // a rotated token: read it again for the next request
      if (answer.statusCode === 401 && current === used) current = { ...used, takenAt: Number.NEGATIVE_INFINITY };
      return { status: answer.statusCode, headers: plainHeaders(answer.headers), body: answer.body };
    },
    close: async () => {
      await renewing?.catch(() => undefined);
      const known = current;
      current = undefined;
      await Promise.all([...retired, ...(known ? [known.dispatcher] : [])].map((dispatcher) => dispatcher.destroy()));
    },
  };
}

/** Keeps the connections of `known` unless the certificates changed: a dispatcher holds the TLS sessions. */
async function connect(config: KubeConfig, origin: string, clock: Clock, known: Connection | undefined): Promise<Connection> {
  const context = new RequestContext(`${origin}/`, HttpMethod.GET);
  await config.applySecurityAuthentication(context);
  const tls: Parameters<KubeConfig['createDispatcherOptions']>[1] & Record<string, unknown> = {};
  await config.applyToHTTPSOptions(tls);
  const material = JSON.stringify(['ca', 'cert', 'key', 'servername', 'rejectUnauthorized'].map((name) => String(tls[name] ?? '')));
  const dispatcher = known?.material === material ? known.dispatcher : makeDispatcher(config, tls, context);
  return { dispatcher, headers: context.getHeaders(), material, takenAt: clock.monotonic() };
}

/**
 * HTTP/1.1: over HTTP/2, which undici 8 prefers, a connection that the server drops after a watch was aborted ends in an error
 * that nobody can catch. client-node's own dispatcher cannot be told so; it is used where only it knows the way (SOCKS).
 */
function makeDispatcher(
  config: KubeConfig,
  tls: Parameters<KubeConfig['createDispatcherOptions']>[1],
  context: RequestContext,
): Dispatcher {
  const options = config.createDispatcherOptions(config.getCurrentCluster(), tls);
  const own = context.getDispatcher();
  switch (options.type) {
    case 'agent':
      return new Agent({ connect: options.connect, allowH2: false });
    case 'none': // no certificates of its own: the system's authorities
      return new Agent({ connect: { keepAlive: true, keepAliveInitialDelay: 30_000 }, allowH2: false });
    case 'proxy':
      return new ProxyAgent({ uri: options.uri, requestTls: options.requestTls, connect: options.connect, allowH2: false });
    case 'socks':
      if (own === undefined) throw new Error('client-node made no dispatcher for its SOCKS proxy');
      return own;
  }
}

function plainHeaders(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name.toLowerCase(), Array.isArray(value) ? value.join(', ') : value]],
    ),
  );
}
