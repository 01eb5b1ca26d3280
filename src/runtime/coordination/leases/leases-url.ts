import { DNS_LABEL } from 'cdk8s-baremetal-contract/names';
import { coordinationErrors } from '../errors.ts';

export interface LeasesAddress {
  /** Absent: the service account's. */
  readonly namespace: string | undefined;
  /** Absent: that of the own pod of management nodes. */
  readonly scope: string | undefined;
}

/** `kubernetes://[namespace][/scope]`, as in [store] url. */
export function parseLeasesUrl(url: string): LeasesAddress {
  const [whole, namespace = '', scope = ''] = /^kubernetes:\/\/([^/]*)(?:\/([^/]+))?$/.exec(url) ?? [];
  const isLabel = (text: string): boolean => text === '' || DNS_LABEL.test(text);
  if (whole === undefined || !isLabel(namespace) || !isLabel(scope)) throw coordinationErrors.COORDINATION_URL({ url });
  return { namespace: namespace || undefined, scope: scope || undefined };
}
