/** The HTTP API and its guard: tokens, TLS with renewal, and a warning where either is missing. */
import { createApi, FileTokens, isLoopback, readTls, renewTls } from '../api/index.ts';
import { openImage as openImageFile } from '../deploy/image/index.ts';
import type { BootRole } from './boot.ts';
import type { NotificationRole } from './notifications.ts';
import type { PowerRole } from './power.ts';
import { listening, type Role, type Surroundings, startRole } from './role.ts';

export interface ApiRole extends Role {
  /** What it listens on; undefined when it is switched off. */
  readonly url: string | undefined;
}

export interface ApiNeighbours {
  readonly boot: BootRole;
  readonly notifications: NotificationRole;
  readonly power: PowerRole;
  /** Undefined: ready. Otherwise why not. */
  readonly notReady: () => string | undefined;
}

export function startApi(surroundings: Surroundings, { boot, notifications, power, notReady }: ApiNeighbours): Promise<ApiRole> {
  const { config, store, secrets, machines, network, clock, random, logger, metrics, openImage = openImageFile, settings } = surroundings;
  return startRole<Omit<ApiRole, 'close'>>(async (closing) => {
    if (!config.api.enabled) return { url: undefined };
    const { address, tokens_file: tokensFile, rate_limit: rateLimit } = config.api;
    const port = config.DEFAULT.server_port;
    const tls = readTls(config.api.tls_cert, config.api.tls_key);
    const api = createApi({
      store,
      secrets,
      clock,
      random,
      logger,
      machines,
      metrics,
      bootSettings: boot.settings,
      leaseOfMac: boot.leaseOfMac,
      bootReport: boot.report,
      bootSeen: boot.seen,
      notReady,
      bmcs: power.bmcs,
      userImages: config.pxe.user_image_dir,
      rateLimit,
      settings,
      // reading an image to its end begins with how far that is
      openImage: (options) => openImage({ maxVirtualSizeBytes: config.image_cache.largest_disk_gb * 1e9, ...options }),
      ...(tokensFile !== undefined && { tokens: new FileTokens({ path: tokensFile, clock, logger }) }),
      ...(notifications.desk && { notifications: notifications.desk }),
    });
    await api.start();
    const start = () => network.serveHttp({ address, port, ...(tls && { tls }) }, api.handle);
    const server = await listening('the API', `${address}:${port}`, 'DEFAULT', start);
    closing(() => server.close());
    closing(() => api.close()); // before the server: streams would keep it waiting
    if (tls && server.renewTls) {
      const stop = new AbortController();
      closing(() => stop.abort(new Error('the daemon is closing')));
      void renewTls({ files: tls.files, clock, logger, signal: stop.signal }, tls, (renewed) => server.renewTls?.(renewed));
    }
    if (tokensFile === undefined)
      logger.warn({ address, port }, 'no [api] tokens_file: everybody may look, and programs on this machine may change everything');
    else if (!tls && !isLoopback(address)) logger.warn({ address, port }, 'no [api] tls_cert: tokens cross the network in the clear');
    return { url: `${tls ? 'https' : 'http'}://${address === '0.0.0.0' ? '127.0.0.1' : address}:${server.local.port}` };
  });
}
