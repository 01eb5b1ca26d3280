/** The Secrets of a cluster: passwords made once and never again, certificates that are renewed. */
import { createHmac } from 'node:crypto';
import { Secret } from 'cdk8s-baremetal-contract';
import {
  type ClusterSpec,
  catalog,
  certificatesSecretName,
  componentObjectName,
  credentialKey,
  MANAGED_BY,
  onecloudLabel,
  requiredSecrets,
  type SecretKeyRef,
} from 'cdk8s-baremetal-contract/onecloud/index';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import { type Random, randomInt } from 'cdk8s-baremetal-runtime/core/random';
import type { KubeApi } from '../engine/api.ts';
import { ifFound, isApiError } from '../engine/api-error.ts';
import { applyProblem } from '../engine/apply-problem.ts';
import { mapAtMost } from '../engine/map-at-most.ts';
import { controllerReference, type LiveObject } from '../engine/objects.ts';
import { resourceTypes } from '../engine/resource-types.ts';
import { type KeyAndCertificate, makeAuthority, makeServiceCertificate, stillServes } from './certificates.ts';
import { operatorOnecloudErrors } from './errors.ts';
import { authoritySecretName } from './names.ts';
import type { ObjectView } from './object-view.ts';

export interface SecretsOptions {
  readonly api: KubeApi;
  readonly view: ObjectView;
  readonly clock: Clock;
  readonly random: Random;
  readonly cluster: LiveObject;
  readonly spec: ClusterSpec;
  readonly instance: string;
}

export interface ClusterSecrets {
  /** By component name, for the annotation that rolls its pods. */
  readonly checksums: Readonly<Record<string, string>>;
  /** Of the components that have a database of their own, by component name. */
  readonly databasePasswords: ReadonlyMap<string, Secret>;
  /** Of the components that have a Keystone account of their own, by component name. */
  readonly accountPasswords: ReadonlyMap<string, Secret>;
  /** Keystone's administrator; the authority that its certificate comes from, in PEM. */
  readonly bootstrapPassword: Secret | undefined;
  readonly authority: string;
}

/** 62^32 is 190 bits. No character that a shell, a URL, INI or SQL would want quoted. */
const PASSWORD_LENGTH = 32;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** Secrets of a new cluster that are made side by side. */
const AT_ONCE = 8;

type Data = Readonly<Record<string, string>>;

/**
 * Makes what is missing and leaves everything else as it is. Checksums are keyed with the certificate's key, since a plain hash of
 * a short password could be guessed.
 */
export async function ensureSecrets(options: SecretsOptions): Promise<ClusterSecrets> {
  const { cluster } = options;
  const { name } = cluster.metadata;
  const certificates = await ensureCertificates(options);
  const checksums: Record<string, string> = {};
  const databasePasswords = new Map<string, Secret>();
  const accountPasswords = new Map<string, Secret>();
  let bootstrapPassword: Secret | undefined;
  await mapAtMost(requiredSecrets(name), AT_ONCE, async ({ name: secretName, keys, component }) => {
    if (component === undefined) return;
    const data = await ensureSecret(
      options,
      secretName,
      async (missing) => {
        const values = await Promise.all(
          missing.map(async (key) => [key, encode((await givenSecret(options, component, key)) ?? password(options.random))] as const),
        );
        return Object.fromEntries(values);
      },
      keys,
    );
    const row = catalog.find(({ key }) => key === component);
    if (row === undefined) return;
    checksums[row.name] = keyedChecksum(certificates, data);
    // as the init container that renders configurations reads them: without the line break of a file
    const secretOf = (key: string): Secret | undefined => (data[key] ? new Secret(decode(data[key]).replace(/\r?\n$/, '')) : undefined);
    const [database, account] = [secretOf(credentialKey.database), secretOf(credentialKey.account)];
    if (database) databasePasswords.set(row.name, database);
    if (account) accountPasswords.set(row.name, account);
    bootstrapPassword ??= secretOf(credentialKey.bootstrap);
  });
  for (const row of catalog) {
    const owner = catalog.find(({ key }) => key === row.credentialsOf);
    const shared = owner && checksums[owner.name];
    if (shared !== undefined) checksums[row.name] = shared;
    checksums[row.name] ??= keyedChecksum(certificates, {});
  }
  return { checksums, databasePasswords, accountPasswords, bootstrapPassword, authority: decode(certificates['ca.crt']) };
}

async function ensureCertificates(options: SecretsOptions): Promise<Data> {
  const { api, cluster, random, clock } = options;
  const { name } = cluster.metadata;
  const authority = await ensureSecret(
    options,
    authoritySecretName(name),
    async () => {
      const { certificate, key } = makeAuthority(`${name} OneCloud`, { clock, random });
      return { 'ca.crt': encode(certificate), 'ca.key': encode(key) };
    },
    ['ca.crt', 'ca.key'],
  );
  const names = certificateNames(options);
  const ca = { certificate: decode(authority['ca.crt']), key: decode(authority['ca.key']) };
  const make = async (): Promise<Data> => {
    const { certificate, key } = issuedBy(ca, names, options);
    const [crt, secret] = [encode(certificate), encode(key)];
    return { 'ca.crt': encode(ca.certificate), 'service.crt': crt, 'service.key': secret, 'tls.crt': crt, 'tls.key': secret };
  };
  const secretName = certificatesSecretName(name);
  const live = await ensureSecret(options, secretName, make, ['ca.crt', 'service.crt', 'service.key', 'tls.crt', 'tls.key']);
  const key = { namespace: cluster.metadata.namespace ?? '', name: secretName };
  const stored = options.view.get('Secret', key);
  const ours = stored?.metadata.labels?.[onecloudLabel.managedBy] === MANAGED_BY;
  if (!ours || stillServes(decode(live['service.crt']), ca.certificate, names, clock)) return live; // people's own are theirs to renew
  const renewed = await api.patch(resourceTypes.secrets, key, { data: await make() });
  options.view.written(renewed);
  return dataOf(renewed);
}

/**
 * One that does not serve would be made anew at every pass, and every pod with it.
 * @throws CodedError ONECLOUD_AUTHORITY_UNUSABLE
 */
function issuedBy(authority: KeyAndCertificate, names: readonly string[], { cluster, clock, random }: SecretsOptions): KeyAndCertificate {
  const secret = authoritySecretName(cluster.metadata.name);
  let made: KeyAndCertificate;
  try {
    made = makeServiceCertificate(authority, names, { clock, random });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw operatorOnecloudErrors.ONECLOUD_AUTHORITY_UNUSABLE({ secret, why }, { cause: error });
  }
  if (stillServes(made.certificate, authority.certificate, names, clock)) return made;
  throw operatorOnecloudErrors.ONECLOUD_AUTHORITY_UNUSABLE({ secret, why: 'ca.key is not the key of ca.crt' });
}

/** Every Service by its short and long names, the addresses people use, and what they ask for. */
function certificateNames({ cluster, spec }: SecretsOptions): string[] {
  const { name, namespace = '' } = cluster.metadata;
  const services = catalog.filter(({ ports = [] }) => ports.length > 0).map((row) => componentObjectName(name, row.name));
  const names = services.flatMap((service) => [service, `${service}.${namespace}`, `${service}.${namespace}.svc`]);
  return [
    ...new Set([
      ...names,
      'localhost',
      '127.0.0.1',
      ...(spec.loadBalancerEndpoint === undefined ? [] : [spec.loadBalancerEndpoint]),
      ...(spec.certSANs ?? []),
    ]),
  ];
}

/** The Secret's data, with `make` asked for the keys that it lacks. One that people made before is used as it is. */
async function ensureSecret(
  { api, view, cluster, instance }: SecretsOptions,
  name: string,
  make: (missing: readonly string[]) => Promise<Data>,
  keys: readonly string[],
): Promise<Data> {
  const type = resourceTypes.secrets;
  const key = { namespace: cluster.metadata.namespace ?? '', name };
  const live = view.get('Secret', key) ?? (await ifFound(api.get(type, key)));
  if (live === undefined) {
    // not owned: passwords go with the databases, not with the object (databasePolicy)
    const owner = name === certificatesSecretName(cluster.metadata.name) ? { ownerReferences: [controllerReference(cluster)] } : {};
    const labels = { [onecloudLabel.instance]: instance, [onecloudLabel.managedBy]: MANAGED_BY };
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { ...key, labels, ...owner }, type: 'Opaque', data: await make(keys) };
    try {
      const made = await api.create(type, secret);
      view.written(made);
      return dataOf(made);
    } catch (error) {
      // an admission webhook, say; what is forbidden is told as it is
      if (!isApiError(error, 'already-exists')) throw isApiError(error, 'invalid') ? applyProblem(error, secret) : error;
      return ensureSecret({ api, view, cluster, instance } as SecretsOptions, name, make, keys);
    }
  }
  const data = dataOf(live);
  const missing = keys.filter((wanted) => !data[wanted]);
  if (missing.length === 0) return data;
  const made = await make(missing);
  const added = Object.fromEntries(missing.flatMap((wanted) => (made[wanted] === undefined ? [] : [[wanted, made[wanted]]])));
  const patched = await api.patch(type, key, { metadata: { resourceVersion: live.metadata.resourceVersion }, data: added });
  view.written(patched);
  return dataOf(patched);
}

/** A password that people give instead of a made one. */
async function givenSecret({ api, cluster, spec }: SecretsOptions, component: string, key: string): Promise<string | undefined> {
  const read = async (ref: SecretKeyRef | undefined): Promise<string | undefined> => {
    if (ref === undefined) return undefined;
    const secret = await ifFound(api.get(resourceTypes.secrets, { namespace: cluster.metadata.namespace ?? '', name: ref.name }));
    const value = secret && dataOf(secret)[ref.key];
    if (!value) throw operatorOnecloudErrors.ONECLOUD_SECRET_MISSING({ secret: ref.name, key: ref.key });
    return decode(value);
  };
  if (component === 'keystone' && key === credentialKey.bootstrap) {
    return spec.keystone?.bootstrapPassword ?? (await read(spec.keystone?.bootstrapPasswordSecretRef));
  }
  if (component === 'baremetalagent' && key === credentialKey.ipmi) return read(spec.baremetalagent?.ipmiPasswordSecretRef);
  return undefined;
}

function password(random: Random): string {
  return Array.from({ length: PASSWORD_LENGTH }, () => ALPHABET[randomInt(random, ALPHABET.length)] ?? '').join('');
}

function keyedChecksum(certificates: Data, data: Data): string {
  const content = Object.entries({ ...data, ...certificates }).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHmac('sha256', decode(certificates['service.key'])).update(JSON.stringify(content)).digest('hex');
}

function dataOf({ data }: LiveObject): Data {
  return (data ?? {}) as Data;
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64');
}

function decode(text = ''): string {
  return Buffer.from(text, 'base64').toString();
}
