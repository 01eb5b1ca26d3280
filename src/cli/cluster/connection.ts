/** The way to the API server that a kubeconfig names, and its answers in words for people. */
import { CodedError } from 'cdk8s-baremetal-contract';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { KubeApi } from '../../operator/engine/api.ts';
import { type ApiError, isApiError } from '../../operator/engine/api-error.ts';
import { clientNodeTransport, type KubeConfigOptions, loadKubeConfig } from '../../operator/engine/client-node-transport.ts';
import { httpApi } from '../../operator/engine/http-api.ts';
import { clusterErrors } from './errors.ts';

export type KubeConfig = ReturnType<typeof loadKubeConfig>;

export interface Connection {
  readonly api: KubeApi;
  readonly config: KubeConfig;
  close(): Promise<void>;
}

/** @throws CodedError CLUSTER_NO_KUBECONFIG */
export function connect(options: KubeConfigOptions, clock: Clock): Connection {
  try {
    const config = loadKubeConfig(options);
    const transport = clientNodeTransport(config, clock);
    return { config, api: httpApi({ transport, clock, userAgent: 'bmctl' }), close: () => transport.close() };
  } catch (cause) {
    throw clusterErrors.CLUSTER_NO_KUBECONFIG({ reason: cause instanceof Error ? cause.message : String(cause) }, { cause });
  }
}

/** The API server's refusals as coded errors; what is none passes as it is. */
export function explained(error: unknown, { namespace, cluster }: { readonly namespace: string; readonly cluster?: string }): unknown {
  if (error instanceof CodedError || !isApiError(error)) return error;
  const options = { cause: error };
  const reason = sentence(error);
  switch (error.kind) {
    case 'network':
    case 'timeout':
    case 'server':
    case 'throttled':
    case 'protocol':
      return clusterErrors.CLUSTER_API_UNREACHABLE({ reason }, options);
    case 'unauthorized':
      return clusterErrors.CLUSTER_UNAUTHORIZED({ reason }, options);
    case 'forbidden':
      return clusterErrors.CLUSTER_FORBIDDEN({ reason }, options);
    case 'conflict':
    case 'already-exists':
      return clusterErrors.CLUSTER_CHANGED_MEANWHILE({ cluster: `${namespace}/${cluster ?? '?'}` }, options);
    case 'not-found':
      if (/^namespaces "/.test(error.message)) return clusterErrors.CLUSTER_NAMESPACE_MISSING({ namespace }, options);
      if (isKindMissing(error)) return clusterErrors.CLUSTER_CRD_MISSING({ namespace }, options);
      return clusterErrors.CLUSTER_NOT_FOUND({ cluster: `${namespace}/${cluster ?? '?'}`, known: [] }, options);
    case 'invalid':
    case 'gone':
      return clusterErrors.CLUSTER_REFUSED({ reason }, options);
  }
}

/** A missing object is named in the answer; a missing kind is a page that is not there. */
export function isKindMissing(error: ApiError): boolean {
  return error.kind === 'not-found' && !/"[^"]*" not found/.test(error.message);
}

function sentence({ message, causes }: ApiError): string {
  const fields = causes.flatMap(({ field, message: why }) => (field && why ? [`${field}: ${why}`] : []));
  return fields.length > 0 ? fields.join('; ') : message;
}
