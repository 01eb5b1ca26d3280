import { DNS_LABEL } from 'cdk8s-baremetal-contract/names';
import { storeErrors } from '../errors.ts';

export interface KubernetesAddress {
  /** Absent: the service account's. */
  readonly namespace: string | undefined;
  /** Absent: that of the own pod of management nodes. */
  readonly scope: string | undefined;
}

/** `kubernetes://[namespace][/scope]`. */
export function parseKubernetesUrl(url: string): KubernetesAddress {
  const [, namespace = '', scope = ''] = /^kubernetes:\/\/([^/]*)(?:\/([^/]*))?$/.exec(url) ?? [];
  const isLabel = (text: string): boolean => text === '' || DNS_LABEL.test(text);
  const fits = url.startsWith('kubernetes://') && isLabel(namespace) && isLabel(scope);
  if (!fits || (url.length > 'kubernetes://'.length && namespace === '' && scope === ''))
    throw storeErrors.STORE_URL({ url, reason: 'is not kubernetes://[namespace][/scope], both of them DNS labels' });
  return { namespace: namespace || undefined, scope: scope || undefined };
}
