/** Keystone as the operator needs it: accounts that services log in with, and the catalog in which they find each other. */
import type { Secret } from 'cdk8s-baremetal-contract';
import type { Ensured } from './databases.ts';

export interface IdentityServer {
  /** https://default-keystone.onecloud.svc:30357/v3 */
  readonly url: string;
  /** PEM of the authority that its certificate comes from. */
  readonly ca: string;
  readonly user: string;
  readonly domain: string;
  readonly project: string;
  readonly password: Secret;
  /** Where the password comes from, for messages. */
  readonly secret: string;
}

export interface ServiceAccount {
  readonly user: string;
  readonly password: Secret;
  /** In the administrator's domain and project. */
  readonly role: string;
}

export interface ServiceEndpoints {
  readonly service: string;
  readonly type: string;
  readonly region: string;
  /** By interface. */
  readonly urls: Readonly<Partial<Record<'public' | 'internal' | 'admin', string>>>;
}

/** One login, for one pass over one cluster. Every method throws CodedError ONECLOUD_IDENTITY_*, never with a password in it. */
export interface IdentitySession {
  /** The account, its password and its role, as wanted. Looks first. */
  ensureAccount(account: ServiceAccount): Promise<Ensured>;
  /** Region, service and endpoints, as wanted. Endpoints of other interfaces and regions are left alone. */
  ensureEndpoints(endpoints: ServiceEndpoints): Promise<Ensured>;
  /** Nobody is sent to these addresses any more. They are switched off, not deleted; an endpoint that has another address is somebody else's. */
  withdrawEndpoints(endpoints: ServiceEndpoints): Promise<Ensured>;
}

export interface Identity {
  open(server: IdentityServer, signal: AbortSignal): Promise<IdentitySession>;
}
