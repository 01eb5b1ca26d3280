/** What manifests take for granted in a cluster, for whoever is about to apply them: read from the manifests, so that it is never another list than theirs. */
import { path } from 'cdk8s-baremetal-contract/paths';

export interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}

/** One thing that has to be there, and how to get it. */
export interface Need {
  readonly what: string;
  /** What goes without it, or does not start. */
  readonly without: string;
  readonly commands: readonly string[];
}

type Fields = Readonly<Record<string, unknown>>;

interface SecretUse {
  readonly name: string;
  readonly namespace: string;
  readonly keys: readonly string[];
  readonly user: string;
  readonly effect: 'start' | 'pull' | 'machine';
  readonly mountPath?: string;
}

/** Sorted: nodes first, then Secrets by name, then what lies on the network. */
export function clusterNeeds(manifests: readonly Manifest[]): Need[] {
  const made = new Set(
    manifests.filter(({ kind }) => kind === 'Secret').map(({ metadata }) => `${metadata.namespace ?? ''}/${metadata.name}`),
  );
  const uses = manifests.flatMap(secretUses).filter(({ namespace, name }) => !made.has(`${namespace}/${name}`));
  const secrets = [...new Set(uses.map(({ namespace, name }) => `${namespace}/${name}`))].sort();
  return [
    ...nodeNeeds(manifests),
    ...secrets.map((key) => secretNeed(uses.filter(({ namespace, name }) => `${namespace}/${name}` === key))),
    ...manifests.filter(({ kind }) => kind === 'PersistentVolume').flatMap(exportNeeds),
  ];
}

function secretUses(manifest: Manifest): SecretUse[] {
  const { kind, metadata, spec } = manifest;
  const common = { namespace: metadata.namespace ?? 'default', user: `${kind} ${metadata.name}` };
  if (kind === 'BareMetalNode') {
    const name = fieldsOf(fieldsOf(fieldsOf(spec).bmc).credentialsSecretRef).name;
    return typeof name === 'string' ? [{ ...common, name, keys: ['username', 'password'], user: metadata.name, effect: 'machine' }] : [];
  }
  const pod = fieldsOf(fieldsOf(fieldsOf(spec).template).spec);
  const containers = [...listOf(pod.containers), ...listOf(pod.initContainers)].map(fieldsOf);
  const mounts = containers.flatMap(({ volumeMounts }) => listOf(volumeMounts).map(fieldsOf));
  const uses: SecretUse[] = [];
  const add = (reference: Fields, name: unknown, keys: readonly string[], effect: SecretUse['effect'], mountPath?: unknown): void => {
    // what may be missing is named by those who need it: a machine its BMC's
    if (typeof name !== 'string' || reference.optional === true) return;
    uses.push({ ...common, name, keys, effect, ...(typeof mountPath === 'string' && { mountPath }) });
  };
  for (const volume of listOf(pod.volumes).map(fieldsOf)) {
    const { mountPath } = mounts.find(({ name }) => name === volume.name) ?? {};
    const secret = fieldsOf(volume.secret);
    add(secret, secret.secretName, itemKeys(secret), 'start', mountPath);
    for (const source of listOf(fieldsOf(volume.projected).sources).map(fieldsOf)) {
      const projected = fieldsOf(source.secret);
      add(projected, projected.name, itemKeys(projected), 'start', mountPath);
    }
  }
  for (const container of containers) {
    for (const variable of listOf(container.env).map(fieldsOf)) {
      const reference = fieldsOf(fieldsOf(variable.valueFrom).secretKeyRef);
      add(reference, reference.name, typeof reference.key === 'string' ? [reference.key] : [], 'start');
    }
    for (const source of listOf(container.envFrom).map(fieldsOf)) {
      const reference = fieldsOf(source.secretRef);
      add(reference, reference.name, [], 'start');
    }
  }
  for (const reference of listOf(pod.imagePullSecrets).map(fieldsOf)) add(reference, reference.name, ['.dockerconfigjson'], 'pull');
  return uses;
}

function secretNeed(uses: readonly SecretUse[]): Need {
  const [{ name, namespace } = { name: '', namespace: '' }] = uses;
  const keys = [...new Set(uses.flatMap((use) => use.keys))];
  const users = (effect: SecretUse['effect']): string =>
    shortList([...new Set(uses.filter((use) => use.effect === effect).map(({ user }) => user))]);
  const effects = [
    users('start') && `${users('start')} does not start`,
    users('pull') && `the images of ${users('pull')} are not pulled from a registry that wants a login`,
    users('machine') && `not enrolled, and not switched: ${users('machine')}`,
  ].filter(Boolean);
  const mountPath = uses.find((use) => use.mountPath !== undefined)?.mountPath;
  return {
    what: `Secret ${name} (${keys.join(', ') || 'environment variables'})`,
    without: effects.join('; '),
    commands: secretCommands(name, namespace, keys, mountPath),
  };
}

/** Secrets come from files and pipes: arguments are seen by everybody on the machine, and kept by shells. */
function secretCommands(name: string, namespace: string, keys: readonly string[], mountPath: string | undefined): string[] {
  const create = (type: string, rest: string): string => `kubectl create secret ${type} ${name} -n ${namespace} ${rest}`;
  const [first = 'key'] = keys;
  if (keys.includes('tls.crt')) return [create('tls', '--cert=tls.crt --key=tls.key')];
  if (first === '.dockerconfigjson')
    return [create('generic', '--type=kubernetes.io/dockerconfigjson --from-file=.dockerconfigjson=$HOME/.docker/config.json')];
  if (keys.includes('username')) return [create('generic', '--from-literal=username=USER --from-file=password=FILE')];
  if (mountPath === path.secretsKeyDirectory) return [`openssl rand -base64 32 | ${create('generic', `--from-file=${first}=/dev/stdin`)}`];
  if (mountPath === path.apiTokensDirectory)
    return ['npx bmctl token create ops --role operator --file tokens  # prints the token once', create('generic', '--from-file=tokens')];
  return [create('generic', (keys.length > 0 ? keys : ['KEY']).map((key) => `--from-file=${key}=FILE`).join(' '))];
}

/** The nodes that something is pinned to have to have the labels that it selects by, too. */
function nodeNeeds(manifests: readonly Manifest[]): Need[] {
  const needs = new Map<string, Set<string>>();
  for (const { spec } of manifests) {
    const pod = fieldsOf(fieldsOf(fieldsOf(spec).template).spec);
    const labels = Object.entries(fieldsOf(pod.nodeSelector)).map(([key, value]) => `${key}=${String(value)}`);
    const affinity = fieldsOf(fieldsOf(fieldsOf(pod.affinity).nodeAffinity).requiredDuringSchedulingIgnoredDuringExecution);
    const fields = listOf(affinity.nodeSelectorTerms).flatMap((term) => listOf(fieldsOf(term).matchFields).map(fieldsOf));
    const names = fields.filter(({ key }) => key === 'metadata.name').flatMap(({ values }) => listOf(values).map(String));
    for (const name of names) needs.set(name, new Set([...(needs.get(name) ?? []), ...labels]));
  }
  const labelled = Map.groupBy(needs, ([, labels]) => [...labels].join(' '));
  return [...labelled].map(([labels, nodes]) => {
    const names = nodes.map(([name]) => name).join(' ');
    return {
      what: `${nodes.length === 1 ? 'Node' : 'Nodes'} ${names}${labels && ` with the label ${labels}`}`,
      without: 'nothing is scheduled',
      commands: labels === '' ? [] : [`kubectl label node ${names} ${labels}`],
    };
  });
}

function exportNeeds({ spec, metadata }: Manifest): Need[] {
  const { server, path: folder } = fieldsOf(fieldsOf(spec).nfs);
  if (typeof server !== 'string' || typeof folder !== 'string') return [];
  const what = `NFS export ${server}:${folder}`;
  return [{ what, without: `what mounts PersistentVolume ${metadata.name} does not start`, commands: [`showmount -e ${server}`] }];
}

function itemKeys(source: Fields): string[] {
  return listOf(source.items).flatMap((item) => {
    const { key } = fieldsOf(item);
    return typeof key === 'string' ? [key] : [];
  });
}

function shortList(names: readonly string[]): string {
  return names.length > 3 ? `${names.slice(0, 2).join(', ')} and ${names.length - 2} more` : names.join(', ');
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
