/** Where the API server is and how a container speaks to it, from what Kubernetes puts into every container. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { path } from 'cdk8s-baremetal-contract/paths';
import type { Clock } from '../../core/clock.ts';
import { kubernetesStoreErrors } from './errors.ts';

export interface Credentials {
  readonly token: string;
  /** PEM. */
  readonly ca: string;
}

export interface ApiAccess {
  /** `https://10.96.0.1:443`, without a slash at its end. */
  readonly server: string;
  /** That of the service account. */
  readonly namespace: string;
  /** What is valid now. `refused`: the last token was not accepted, so look again. */
  credentials(refused?: boolean): Credentials;
}

export interface ServiceAccountOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** The mounted folder. Default: where Kubernetes mounts it. */
  readonly directory?: string;
}

/** Tokens last an hour, and the kubelet replaces them well before. */
const KEPT_MS = 60_000;

/** @throws STORE_KUBERNETES_OUTSIDE where there is no such thing */
export function serviceAccount({ env, clock, directory = path.serviceAccount }: ServiceAccountOptions): ApiAccess {
  const host = env.KUBERNETES_SERVICE_HOST;
  if (!host) throw kubernetesStoreErrors.STORE_KUBERNETES_OUTSIDE({ missing: 'KUBERNETES_SERVICE_HOST is not set' });
  const port = env.KUBERNETES_SERVICE_PORT_HTTPS || env.KUBERNETES_SERVICE_PORT || '443';
  const read = (file: string): string => {
    try {
      return readFileSync(join(directory, file), 'utf8');
    } catch (cause) {
      throw kubernetesStoreErrors.STORE_KUBERNETES_OUTSIDE({ missing: `${join(directory, file)} cannot be read` }, { cause });
    }
  };
  let known: { readonly credentials: Credentials; readonly untilMs: number } | undefined;
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    get namespace() {
      return read('namespace').trim();
    },
    credentials(refused = false) {
      if (known === undefined || refused || clock.monotonic() >= known.untilMs)
        known = { credentials: { token: read('token').trim(), ca: read('ca.crt') }, untilMs: clock.monotonic() + KEPT_MS };
      return known.credentials;
    },
  };
}
