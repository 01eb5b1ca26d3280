/** Certificate and key of the API, read from files and read again when they change (cert-manager and people renew them in place). */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Clock, sleep } from '../core/clock.ts';
import { isoTime } from '../core/iso-time.ts';
import type { Logger } from '../core/logger.ts';
import type { HttpTls } from '../core/network.ts';
import { apiErrors } from './errors.ts';

export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

const LOOK_MS = 60_000;
/** Who renews by hand has this long. */
const WARN_MS = 7 * 24 * 3_600_000;

/** Undefined when neither is set. Throws API_TLS. */
export function readTls(cert: string | undefined, key: string | undefined): (HttpTls & { readonly files: TlsFiles }) | undefined {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined)
    throw apiErrors.API_TLS({ why: `only ${cert === undefined ? 'tls_key' : 'tls_cert'} is set` });
  return { ...pair({ cert, key }), files: { cert, key } };
}

/** Looks once a minute until the signal aborts. A pair that does not fit is left alone: the old one goes on, and the log says so. */
export async function renewTls(
  options: { readonly files: TlsFiles; readonly clock: Clock; readonly logger: Logger; readonly signal: AbortSignal },
  current: HttpTls,
  renew: (tls: HttpTls) => void,
): Promise<void> {
  const { files, clock, logger, signal } = options;
  let { cert, key } = current;
  let told: string | undefined;
  const tellOfExpiry = (): void => {
    const end = new X509Certificate(cert).validToDate.getTime();
    const left = end - clock.now();
    const what =
      left <= 0 ? 'the certificate of the API has expired' : left < WARN_MS ? 'the certificate of the API expires soon' : undefined;
    if (what !== undefined && what !== told) logger.error({ cert: files.cert, until: isoTime(end) }, what);
    told = what;
  };
  tellOfExpiry();
  while (!signal.aborted) {
    try {
      await sleep(clock, LOOK_MS, signal);
      tellOfExpiry();
      const next = pair(files);
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

/** Throws API_TLS for what is no certificate, no key, or not the key of the certificate. */
function pair(files: TlsFiles): HttpTls {
  const [cert, key] = [read(files.cert), read(files.key)];
  const parsed = <T>(path: string, what: string, parse: () => T): T => {
    try {
      return parse();
    } catch {
      throw apiErrors.API_TLS({ why: `${path} holds no ${what} in PEM that can be read without a passphrase` });
    }
  };
  const certificate = parsed(files.cert, 'certificate', () => new X509Certificate(cert));
  const own = parsed(files.key, 'private key', () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(own))
    throw apiErrors.API_TLS({ why: `the key in ${files.key} is not that of the certificate in ${files.cert}` });
  return { cert, key };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw apiErrors.API_TLS({ why: `${path} cannot be read (${why})` });
  }
}
