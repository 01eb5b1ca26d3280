import { defineCrd } from 'cdk8s-baremetal-contract/crd/define-crd';
import { formatPath } from 'cdk8s-baremetal-contract/data-path';
import { type ClusterProblem, catalog, onecloudCluster, validateCluster, validateClusters } from 'cdk8s-baremetal-contract/onecloud/index';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { AS_PRINTED, CORRECTED } from './seed.ts';

// biome-ignore lint/suspicious/noExplicitAny: tests break objects in every way
type Broken = any;

const cluster = (change: (object: Broken) => void = () => undefined): unknown => {
  const object = parse(CORRECTED);
  object.spec.mysql = { host: '10.168.26.216', passwordSecretRef: { name: 'mysql-root' } };
  change(object);
  return object;
};
const lines = (problems: readonly ClusterProblem[]): string[] =>
  problems.map(({ path, error, severity }) => `${severity} ${formatPath(path)} ${error}`);

describe("004-1: the document's example", () => {
  it('with its scan errors corrected has nothing but the warning about its password', () => {
    expect(lines(validateCluster(parse(CORRECTED)))).toEqual([
      'warning spec.mysql.password ONECLOUD_SECRET_AS_VALUE: spec.mysql.password holds a secret as a value, which everybody who may read the object sees (value not shown). Create a Secret and name it as spec.mysql.passwordSecretRef: { name, key }',
    ]);
  });

  it('as printed is refused, and the nearest field named', () => {
    const found = lines(validateCluster(parse(AS_PRINTED)));
    expect(found).toContain(
      'error spec.mysal ONECLOUD_KEY_UNKNOWN: spec.mysal is neither a setting nor a component of a cluster. Did you mean mysql?',
    );
    expect(found).toContain(
      'error spec.alance ONECLOUD_KEY_UNKNOWN: spec.alance is neither a setting nor a component of a cluster. Did you mean glance?',
    );
    expect(found).toContain('error spec.mysql ONECLOUD_FIELD_MISSING: spec.mysql is missing. Add spec.mysql');
    expect(found).toHaveLength(3);
    expect(found.join()).not.toContain('your-sql-password');
  });

  it('with a Secret for the password has no problem at all', () => {
    expect(lines(validateCluster(cluster()))).toEqual([]);
  });
});

const refused: readonly (readonly [name: string, change: (object: Broken) => void, code: string, path: string, says: string])[] = [
  [
    'an unknown component',
    (o) => Object.assign(o.spec, { frobnicator: {} }),
    'ONECLOUD_KEY_UNKNOWN',
    'spec.frobnicator',
    'keystone, regionServer',
  ],
  ['a misspelled setting', (o) => Object.assign(o.spec, { regoin: 'r' }), 'ONECLOUD_KEY_UNKNOWN', 'spec.regoin', 'Did you mean region?'],
  ['another capital', (o) => Object.assign(o.spec, { vpcagent: {} }), 'ONECLOUD_KEY_UNKNOWN', 'spec.vpcagent', 'Did you mean vpcAgent?'],
  [
    'a misspelled override',
    (o) => Object.assign(o.spec.glance, { replica: 2 }),
    'ONECLOUD_FIELD_UNKNOWN',
    'spec.glance.replica',
    'replicas?',
  ],
  [
    'replicas of a DaemonSet',
    (o) => Object.assign(o.spec, { hostagent: { replicas: 2 } }),
    'ONECLOUD_FIELD_UNKNOWN',
    'spec.hostagent.replicas',
    '',
  ],
  [
    'a schedule of a Deployment',
    (o) => Object.assign(o.spec, { climc: { schedule: '* * * * *' } }),
    'ONECLOUD_FIELD_UNKNOWN',
    'spec.climc.schedule',
    '',
  ],
  ['text for a number', (o) => Object.assign(o.spec.glance, { replicas: '1' }), 'ONECLOUD_FIELD_INVALID', 'spec.glance.replicas', '"1"'],
  ['a port that is none', (o) => Object.assign(o.spec.mysql, { port: 70000 }), 'ONECLOUD_FIELD_INVALID', 'spec.mysql.port', '70000'],
  [
    'a size that is none',
    (o) => Object.assign(o.spec.glance.requests, { storage: '100 GB' }),
    'ONECLOUD_FIELD_INVALID',
    'spec.glance.requests.storage',
    'must be a quantity',
  ],
  ['a policy that is none', (o) => Object.assign(o.spec, { pvcPolicy: 'Keep' }), 'ONECLOUD_FIELD_INVALID', 'spec.pvcPolicy', '"Keep"'],
  ['a version that is no tag', (o) => Object.assign(o.spec, { version: 'v3 beta' }), 'ONECLOUD_FIELD_INVALID', 'spec.version', 'image tag'],
  [
    'a repository with a tag in front of nothing',
    (o) => Object.assign(o.spec, { imageRepository: 'a/b/' }),
    'ONECLOUD_FIELD_INVALID',
    'spec.imageRepository',
    'registry path',
  ],
  [
    'a cron expression of four fields',
    (o) => Object.assign(o.spec, { cloudmonping: { schedule: '* * * *' } }),
    'ONECLOUD_FIELD_INVALID',
    'spec.cloudmonping.schedule',
    'cron expression',
  ],
  [
    'a window without an expression',
    (o) => Object.assign(o.spec, { updateStrategy: { window: {} } }),
    'ONECLOUD_FIELD_MISSING',
    'spec.updateStrategy.window.cron',
    '',
  ],
  [
    'an unknown affinity',
    (o) => Object.assign(o.spec.glance, { affinity: { nodeAfinity: {} } }),
    'ONECLOUD_FIELD_UNKNOWN',
    'spec.glance.affinity.nodeAfinity',
    'nodeAffinity?',
  ],
  ['no host', (o) => delete o.spec.mysql.host, 'ONECLOUD_FIELD_MISSING', 'spec.mysql.host', ''],
  ['no password', (o) => delete o.spec.mysql.passwordSecretRef, 'ONECLOUD_PASSWORD_SOURCE', 'spec.mysql', 'neither'],
  ['no spec', (o) => delete o.spec, 'ONECLOUD_FIELD_MISSING', 'spec', ''],
  ['another kind', (o) => Object.assign(o, { kind: 'Onecloud' }), 'ONECLOUD_NOT_A_CLUSTER', '', 'Onecloud of onecloud.yunion.io/v1alpha1'],
  [
    'a name that no Service may begin with',
    (o) => Object.assign(o.metadata, { name: '1st' }),
    'ONECLOUD_NAME_INVALID',
    'metadata.name',
    '"1st"',
  ],
  ['a name that leaves no room', (o) => Object.assign(o.metadata, { name: 'a'.repeat(30) }), 'ONECLOUD_NAME_INVALID', 'metadata.name', ''],
  [
    'a node port outside of the range',
    (o) => Object.assign(o.spec.glance, { nodePorts: { api: 9292 } }),
    'ONECLOUD_FIELD_INVALID',
    'spec.glance.nodePorts.api',
    '9292',
  ],
  [
    'a node port of no port',
    (o) => Object.assign(o.spec.glance, { nodePorts: { public: 30293 } }),
    'ONECLOUD_FIELD_UNKNOWN',
    'spec.glance.nodePorts.public',
    'api',
  ],
  [
    'a node port twice',
    (o) => Object.assign(o.spec.glance, { nodePorts: { api: 30500 } }),
    'ONECLOUD_NODE_PORT_TAKEN',
    'spec.glance.nodePorts.api',
    'onecloud/default keystone',
  ],
  [
    'replicas on one volume',
    (o) => Object.assign(o.spec.glance, { replicas: 2 }),
    'ONECLOUD_REPLICAS_SHARE_VOLUME',
    'spec.glance.replicas',
    '2 replicas',
  ],
  ...['glance:', 'http://r/glance:v1', 'r/Glance:v1', 'r/glance:v1@sha256:12', 'r/glance v1', ''].map(
    (image) =>
      [
        `an image ${JSON.stringify(image)}`,
        (o: Broken) => Object.assign(o.spec.glance, { image }),
        'ONECLOUD_FIELD_INVALID',
        'spec.glance.image',
        'must be an image',
      ] as const,
  ),
  ...['https://10.0.0.9', '10.0.0.9:443', '10.0.0.09', '999.1.1.1', 'a, b', 'münchen.example'].flatMap((value) => [
    [
      `an address of users ${value}`,
      (o: Broken) => Object.assign(o.spec, { loadBalancerEndpoint: value }),
      'ONECLOUD_FIELD_INVALID',
      'spec.loadBalancerEndpoint',
      'without scheme and port',
    ] as const,
    [
      `a name in certificates ${value}`,
      (o: Broken) => Object.assign(o.spec, { certSANs: ['*.example.org', value] }),
      'ONECLOUD_FIELD_INVALID',
      'spec.certSANs[1]',
      'must be a DNS name',
    ] as const,
  ]),
  [
    'a window in no time zone',
    (o) => Object.assign(o.spec, { updateStrategy: { window: { cron: '@daily', timeZone: 'Asia/Shangai' } } }),
    'ONECLOUD_FIELD_INVALID',
    'spec.updateStrategy.window.timeZone',
    'time zone',
  ],
  [
    'replicas of what there is one of',
    (o) => Object.assign(o.spec, { ovnNorth: { replicas: 3 } }),
    'ONECLOUD_REPLICAS_SINGLE',
    'spec.ovnNorth.replicas',
    'each would answer from a database of its own',
  ],
  [
    'a rolling number where nothing rolls',
    (o) => Object.assign(o.spec, { hostagent: { updateStrategy: { type: 'OnDelete', maxUnavailable: 1 } } }),
    'ONECLOUD_UPDATE_STRATEGY',
    'spec.hostagent.updateStrategy',
    '',
  ],
];

describe('004-1: what is refused', () => {
  it.each(refused)('%s', (_, change, code, path, says) => {
    const problems = validateCluster(cluster(change)).filter(({ severity }) => severity === 'error');
    expect(lines(problems)).toHaveLength(1);
    const [problem] = problems;
    expect(problem?.error.code).toBe(code);
    expect(formatPath(problem?.path ?? [])).toBe(path);
    expect(String(problem?.error)).toContain(says);
  });

  it('004-2: the longest name that is taken fits every object', () => {
    const name = 'a'.repeat(29);
    expect(lines(validateCluster(cluster((object) => Object.assign(object.metadata, { name }))))).toEqual([]);
    for (const { name: component, kind } of catalog)
      expect(`${name}-${component}`.length).toBeLessThanOrEqual(kind === 'CronJob' ? 52 : 63);
  });

  it('never shows a password, not even one of the wrong type', () => {
    const broken = cluster((object) => {
      object.spec.mysql = { host: 'h', password: 8675309, passwordSecretRef: { name: 'a' } };
      object.spec.keystone = { bootstrapPassword: ['hunter2'] };
    });
    const found = lines(validateCluster(broken));
    expect(found.length).toBeGreaterThan(0);
    expect(found.join('\n')).not.toMatch(/8675309|hunter2/);
  });

  it.each([
    null,
    undefined,
    1,
    'x',
    [],
    {},
    { spec: [] },
    { apiVersion: 'onecloud.yunion.io/v1alpha1', kind: 'OnecloudCluster', metadata: 1, spec: 'x' },
  ])('says something of %j without throwing', (object) => {
    expect(validateCluster(object).length).toBeGreaterThan(0);
  });
});

describe('two clusters in one Kubernetes', () => {
  const named = (name: string, change?: (object: Broken) => void): unknown =>
    cluster((object) => {
      object.metadata.name = name;
      change?.(object);
    });

  it('with one node port: each of them is told', () => {
    const found = validateClusters([named('default'), named('second')]);
    expect(new Set(found.map(({ error }) => error.code))).toEqual(new Set(['ONECLOUD_NODE_PORT_TAKEN']));
    const exposed = catalog.flatMap(({ ports = [] }) => ports.filter(({ nodePort }) => nodePort !== undefined));
    expect(found).toHaveLength(exposed.length);
    expect(found.map(({ cluster: index }) => index)).toEqual(found.map(() => 1));
    expect(lines(found)).toContain(
      'error spec.glance.nodePorts.api ONECLOUD_NODE_PORT_TAKEN: node port 30292 of onecloud/second glance is already that of onecloud/default glance. Give glance another one (nodePorts) or keep it inside (internalOnly: true)',
    );
  });

  it('are fine when the second keeps its ports inside', () => {
    const second = named('second', ({ spec }) => {
      for (const { key, ports = [] } of catalog)
        if (ports.some(({ nodePort }) => nodePort !== undefined)) spec[key] = { ...spec[key], internalOnly: true };
    });
    expect(lines(validateClusters([named('default'), second]))).toEqual([]);
  });

  it('of one name and namespace are refused', () => {
    const codes = validateClusters([named('default'), named('default')]).map(({ error }) => error.code);
    expect(codes).toContain('ONECLOUD_DUPLICATE_CLUSTER');
  });
});

describe('004-1: the CRD', () => {
  // biome-ignore lint/suspicious/noExplicitAny: a test looks deep into it
  const { metadata, spec } = onecloudCluster.manifest() as any;
  const [version] = spec.versions;
  const schema = version.schema.openAPIV3Schema;

  it('has the names of the original', () => {
    expect(metadata.name).toBe('onecloudclusters.onecloud.yunion.io');
    expect(spec.group).toBe('onecloud.yunion.io');
    expect(spec.scope).toBe('Namespaced');
    expect(spec.names).toMatchObject({ kind: 'OnecloudCluster', plural: 'onecloudclusters', shortNames: ['onecloud', 'oc'] });
    expect(version).toMatchObject({ name: 'v1alpha1', served: true, storage: true, subresources: { status: {} } });
  });

  it('wants mysql with a host and one source of the password', () => {
    expect(schema.properties.spec.required).toEqual(['mysql']);
    expect(schema.properties.spec.properties.mysql).toMatchObject({
      required: ['host'],
      oneOf: [{ required: ['password'] }, { required: ['passwordSecretRef'] }],
    });
  });

  it('has a key per component', () => {
    expect(Object.keys(schema.properties.spec.properties)).toEqual(expect.arrayContaining(catalog.map(({ key }) => key)));
  });

  it('has standard conditions, components and a bounded history in its status', () => {
    const { conditions, components, history } = schema.properties.status.properties;
    expect(conditions.items.required).toEqual(expect.arrayContaining(['type', 'status', 'reason', 'lastTransitionTime']));
    expect(Object.keys(components.additionalProperties.properties)).toEqual(
      expect.arrayContaining(['phase', 'image', 'observedGeneration', 'ready', 'desired', 'message']),
    );
    expect(history.maxItems).toBe(32);
    expect(history.items.required).toEqual(expect.arrayContaining(['who', 'when', 'to', 'outcome']));
  });

  it('is a structural schema', () => {
    expect(structuralProblems(schema, 'schema')).toEqual([]);
  });

  it('copies rules in CEL as they are', () => {
    const rules = [{ rule: 'self.a <= self.b', message: 'a is at most b' }];
    const spec = z.strictObject({ a: z.int(), b: z.int() }).meta({ 'x-kubernetes-validations': rules });
    const crd = defineCrd({
      kind: 'X',
      plural: 'xs',
      singular: 'x',
      shortNames: [],
      scope: 'Cluster',
      description: '',
      spec,
      status: spec,
      printerColumns: [],
    });
    expect(JSON.stringify(crd.manifest())).toContain(JSON.stringify({ 'x-kubernetes-validations': rules }).slice(1, -1));
  });

  it('fits into the annotation that client-side apply writes', () => {
    expect(JSON.stringify(onecloudCluster.manifest()).length).toBeLessThan(262_144);
  });
});

/** The rules of structural schemas that a generator could break. */
function structuralProblems(node: Broken, path: string): string[] {
  const intOrString = node['x-kubernetes-int-or-string'] === true;
  const inner = [
    ...Object.entries(node.properties ?? {}).map(([name, child]) => [child, `${path}.${name}`] as const),
    ...(node.items ? [[node.items, `${path}[]`] as const] : []),
    ...(node.additionalProperties ? [[node.additionalProperties, `${path}.*`] as const] : []),
  ];
  return [
    ...(node.type === undefined && !intOrString ? [`${path} has no type`] : []),
    ...(node.type !== undefined && intOrString ? [`${path} has a type beside int-or-string`] : []),
    ...(Array.isArray(node.type) ? [`${path} has several types`] : []),
    ...(node.additionalProperties !== undefined && node.properties !== undefined ? [`${path} has both kinds of properties`] : []),
    ...['const', '$ref', 'definitions', 'patternProperties', 'propertyNames', 'not']
      .filter((key) => key in node)
      .map((key) => `${path} has ${key}`),
    ...(node.anyOf !== undefined && !intOrString ? [`${path} has anyOf`] : []),
    ...inner.flatMap(([child, where]) => structuralProblems(child, where)),
  ];
}
