/** The Secrets that a cluster's pods mount: the operator makes them, `kubectl apply` of dist/ needs them made before. */
import { catalog, credentialsRow } from './catalog.ts';
import type { Component } from './component.ts';
import { type CredentialKey, certificatesSecretName, credentialKey, credentialsSecretName } from './names.ts';

export interface RequiredSecret {
  readonly name: string;
  readonly keys: readonly string[];
  /** Spec key of the component that it belongs to; absent: the certificates, which all use. */
  readonly component?: string;
}

/** Keys of a component's own Secret; none when it has no secrets or uses those of another component. */
export function credentialKeys({ database, account, secrets = [] }: Component): CredentialKey[] {
  return [...(database ? [credentialKey.database] : []), ...(account ? [credentialKey.account] : []), ...secrets];
}

/** Name of the Secret that a component's pods mount. */
export function credentialsSecretOf(cluster: string, component: Component): string | undefined {
  const owner = credentialsRow(component);
  return credentialKeys(owner).length > 0 ? credentialsSecretName(cluster, owner.name) : undefined;
}

/** Every Secret of a cluster. */
export function requiredSecrets(cluster: string, components: readonly Component[] = catalog): RequiredSecret[] {
  const certificates = { name: certificatesSecretName(cluster), keys: ['ca.crt', 'service.crt', 'service.key', 'tls.crt', 'tls.key'] };
  const own = components.map((component) => ({
    name: credentialsSecretName(cluster, component.name),
    keys: credentialKeys(component),
    component: component.key,
  }));
  return [certificates, ...own.filter(({ keys }) => keys.length > 0)];
}

/** Whether an init container must put secrets into its configuration. */
export function rendersSecrets(component: Component): boolean {
  return component.config !== undefined && credentialKeys(credentialsRow(component)).length > 0;
}
