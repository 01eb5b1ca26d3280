/**
 * Services and Keystone: a component's account is there before its pods, its endpoints when it runs. As with databases, one login for a
 * pass, and none while what was seen right a moment ago is still what is wanted.
 */
import { createHash } from 'node:crypto';
import { CodedError, type Secret } from 'cdk8s-baremetal-contract';
import {
  type ClusterSettings,
  type Component,
  type ComponentPort,
  componentObjectName,
  credentialsRow,
  credentialsSecretName,
  keystoneAdmin,
  type ResolvedComponent,
} from 'cdk8s-baremetal-contract/onecloud/index';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { Identity, IdentityServer, IdentitySession, ServiceEndpoints } from './identity.ts';

const TRUSTED_MS = 300_000;

export interface IdentityPassOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly server: IdentityServer;
  /** Name of the cluster. */
  readonly name: string;
  readonly settings: Pick<ClusterSettings, 'region' | 'loadBalancerEndpoint'>;
  /** By component name. */
  readonly passwords: ReadonlyMap<string, Secret>;
}

export interface IdentityPass {
  ensureAccount(row: Component): Promise<void>;
  /** Of one that is disabled: none. */
  ensureEndpoints(component: ResolvedComponent): Promise<void>;
  readonly told: readonly string[];
  readonly problem: CodedError | undefined;
}

export class IdentityKeeper {
  readonly #identity: Identity;
  /** Cluster → account or service → what was seen, and when. */
  readonly #trusted = new Map<string, Map<string, { readonly fingerprint: string; readonly at: number }>>();

  constructor(identity: Identity) {
    this.#identity = identity;
  }

  forget(cluster: string): void {
    this.#trusted.delete(cluster);
  }

  begin(cluster: string, options: IdentityPassOptions): IdentityPass {
    const trusted = this.#trusted.get(cluster) ?? new Map<string, { readonly fingerprint: string; readonly at: number }>();
    this.#trusted.set(cluster, trusted);
    const { clock, signal, server, passwords } = options;
    const told: string[] = [];
    let problem: CodedError | undefined;
    let opening: Promise<IdentitySession> | undefined;
    let turn: Promise<void> = Promise.resolve();
    const ensure = (what: string, wanted: unknown, work: (session: IdentitySession) => Promise<string | undefined>): Promise<void> => {
      const mine = turn.then(async () => {
        const fingerprint = createHash('sha256')
          .update(JSON.stringify([server.url, wanted]))
          .digest('hex');
        const known = trusted.get(what);
        const now = clock.monotonic();
        if (known?.fingerprint === fingerprint && now - known.at <= TRUSTED_MS) return;
        trusted.delete(what);
        try {
          opening ??= this.#identity.open(server, signal);
          const words = await work(await opening);
          if (words !== undefined) told.push(words);
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof CodedError) problem ??= error;
          throw error;
        }
        trusted.set(what, { fingerprint, at: now });
      });
      turn = mine.catch(() => undefined);
      return mine;
    };
    return {
      told,
      get problem() {
        return problem;
      },
      ensureAccount: async (row) => {
        const owner = credentialsRow(row);
        const password = passwords.get(owner.name);
        if (owner.account === undefined || password === undefined) return;
        const { user } = owner.account;
        await ensure(`account ${user}`, [user, password.reveal()], async (session) => {
          const outcome = await session.ensureAccount({ user, password, role: keystoneAdmin.role });
          return outcome === 'unchanged' ? undefined : `${outcome} the account ${user}`;
        });
      },
      ensureEndpoints: async (component) => {
        const endpoints = endpointsOf(component, options);
        if (endpoints === undefined) return;
        const { disabled } = component;
        await ensure(`service ${endpoints.service}`, [disabled, endpoints], async (session) => {
          if (disabled)
            return (await session.withdrawEndpoints(endpoints)) === 'unchanged'
              ? undefined
              : `withdrew the endpoints of ${endpoints.service}`;
          const outcome = await session.ensureEndpoints(endpoints);
          return outcome === 'unchanged' ? undefined : `${outcome} the endpoints of ${endpoints.service}`;
        });
      },
    };
  }
}

/** Where the operator, which is in another namespace, finds the administrator's side of Keystone. */
export function identityServerOf(
  { name, namespace }: { readonly name: string; readonly namespace: string },
  keystone: ResolvedComponent,
  { password, ca }: { readonly password: Secret; readonly ca: string },
): IdentityServer {
  const port = keystone.ports.find((one) => one.name === 'admin')?.port;
  const { user, domain, project } = keystoneAdmin;
  const host = `${componentObjectName(name, keystone.row.name)}.${namespace}.svc`;
  return { url: `https://${host}:${port}/v3`, ca, user, domain, project, password, secret: credentialsSecretName(name, keystone.row.name) };
}

/** As the original registers them: inside by the Service's name, outside by the address that users reach; undefined: none. */
export function endpointsOf(
  { row, ports }: Pick<ResolvedComponent, 'row' | 'ports'>,
  { name, settings }: Pick<IdentityPassOptions, 'name' | 'settings'>,
): ServiceEndpoints | undefined {
  if (row.endpoint === undefined) return undefined;
  const { service, type, port, path } = row.endpoint;
  const inside = componentObjectName(name, row.name);
  const urlOf = (host: string, number: number): string =>
    `https://${host.includes(':') ? `[${host}]` : host}:${number}${path === undefined ? '' : `/${path}`}`;
  const find = (wanted: string): ComponentPort | undefined => ports.find((one) => one.name === wanted);
  const main = find(port);
  if (main === undefined) return undefined;
  const outside = settings.loadBalancerEndpoint;
  const admin = find('admin');
  return {
    service,
    type,
    region: settings.region,
    urls: {
      internal: urlOf(inside, main.port),
      // nobody is let in from outside without a node port
      public: outside !== undefined && main.nodePort !== undefined ? urlOf(outside, main.nodePort) : urlOf(inside, main.port),
      ...(admin && { admin: urlOf(inside, admin.port) }),
    },
  };
}
