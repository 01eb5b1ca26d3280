/** Certificate and key of the API, read from files and read again when they change (cert-manager and people renew them in place). */
import { readFileSync } from 'node:fs';
import { type Clock, sleep } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { HttpTls } from '../core/network.ts';
import { apiErrors } from './errors.ts';

export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

const LOOK_MS = 60_000;

/** Undefined when neither is set. Throws API_TLS. */
export function readTls(cert: string | undefined, key: string | undefined): (HttpTls & { readonly files: TlsFiles }) | undefined {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined)
    throw apiErrors.API_TLS({ why: `only ${cert === undefined ? 'tls_key' : 'tls_cert'} is set` });
  return { cert: read(cert), key: read(key), files: { cert, key } };
}

/** Looks once a minute until the signal aborts. A pair that does not fit is left alone: the old one goes on, and the log says so. */
export async function renewTls(
  options: { readonly files: TlsFiles; readonly clock: Clock; readonly logger: Logger; readonly signal: AbortSignal },
  current: HttpTls,
  renew: (tls: HttpTls) => void,
): Promise<void> {
  const { files, clock, logger, signal } = options;
  let { cert, key } = current;
  while (!signal.aborted) {
    try {
      await sleep(clock, LOOK_MS, signal);
      const next = { cert: read(files.cert), key: read(files.key) };
      if (next.cert === cert && next.key === key) continue;
      renew(next);
      ({ cert, key } = next);
      logger.info({ cert: files.cert }, 'the certificate of the API was renewed');
    } catch (error) {
      if (signal.aborted) return;
      logger.error(
        { cert: files.cert, why: error instanceof Error ? error.message : String(error) },
        'the certificate of the API was not renewed',
      );
    }
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw apiErrors.API_TLS({ why: `${path} cannot be read (${why})` });
  }
}
