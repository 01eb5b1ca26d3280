import { readFileSync } from 'node:fs';
import { App, Chart } from 'cdk8s';
import { EnvironmentService, type EnvironmentServiceProps, NoGitRepoVolumes, ValuesError } from 'cdk8s-baremetal';
import { dockerfileInstructions } from 'cdk8s-baremetal/kolla/image-layers';
import { RUN_ENVIRONMENTS } from 'cdk8s-baremetal-contract/launch/index';
import { describe, expect, it } from 'vitest';
import { posp, pospCluster, pospFromValues, SERVICES } from '../../../examples/posp/app.ts';
import { filebeatProblems } from '../../support/filebeat-options.ts';
import { schemaProblems } from '../../support/kubernetes-schema.ts';
import { type AnyManifest, find, manifestsOf, problemsOf } from '../../support/synth.ts';

const VALUES = readFileSync(new URL('../../../examples/posp/values.yaml', import.meta.url), 'utf8');
const seed = manifestsOf(pospFromValues(new App()));
const deployment = find(seed, 'Deployment', 'posp-accp-finance');
const podOf = (manifest: AnyManifest) => manifest.spec.template.spec;

const PROPS: EnvironmentServiceProps = {
  release: 'accp',
  containerName: 'account-confirm',
  image: { repository: 'registry.example.net/base_c', digest: `sha256:${'a'.repeat(64)}` },
  proc: 'account_confirm',
  git: { project: 'https://git.example.net/account_confirm.git', revision: 'e'.repeat(40), directory: 'account_confirm' },
  runenv: 'pre',
  filebeat: { image: { repository: 'registry.example.net/filebeat', tag: '9.2.1' }, tags: ['posp_trade_c'] },
};
const synth = (changes: Partial<EnvironmentServiceProps> = {}): AnyManifest[] => {
  const chart = new Chart(new App(), 'test');
  new EnvironmentService(chart, 'service', { ...PROPS, ...changes });
  return manifestsOf(chart);
};
const pod = (changes: Partial<EnvironmentServiceProps> = {}) => podOf(find(synth(changes), 'Deployment', 'posp-accp'));
const problems = (changes: Partial<EnvironmentServiceProps>): string[] =>
  problemsOf((app) => {
    const chart = new Chart(app, 'test');
    new EnvironmentService(chart, 'service', { ...PROPS, ...changes });
    return chart;
  });
const refusedValues = (text: string): string[] => {
  try {
    EnvironmentService.fromValues(new Chart(new App(), 'test'), 'service', text, { release: 'accp' });
  } catch (error) {
    if (error instanceof ValuesError) return error.message.split('\n');
    throw error;
  }
  return [];
};

describe('003-1: the base image', () => {
  const dockerfile = readFileSync('images/posp-base/Dockerfile', 'utf8');
  const instructions = dockerfileInstructions(dockerfile);
  const of = (name: string): string =>
    instructions
      .filter((one) => one.name === name)
      .map(({ rest }) => rest)
      .join('\n');

  it('locale, libraries, Oracle, working directory, time zone', () => {
    expect(of('ENV')).toContain('LANG=en_US.UTF-8');
    expect(of('ENV')).toContain('TZ=Asia/Shanghai');
    expect(of('ENV')).toContain(':/data/lib:/data/oracle/lib'.slice(1));
    expect(of('ENV')).toContain('NLS_LANG=AMERICAN_AMERICA.AL32UTF8');
    expect(of('ENV')).toContain('TNS_ADMIN=/data/oracle/network/admin');
    expect(of('WORKDIR')).toBe('/data/bin');
    expect(of('RUN')).toContain('glibc-langpack-en');
  });
  it('the search path of libraries has no empty entry, which would be the working directory', () => {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: as the Dockerfile has it
    expect(of('ENV')).toContain('LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+${LD_LIBRARY_PATH}:}/data/lib:/data/oracle/lib');
  });
  it('dependencies only: no service, no configuration, no repository', () => {
    expect(of('ADD')).toBe('lib_c.tar.gz /data/');
    expect(of('COPY')).toBe('--chmod=755 environment_start /usr/local/bin/environment_start');
    expect(of('CMD')).toBe('["environment_start"]');
    expect(of('USER')).toMatch(/^[1-9]\d*:\d+$/);
    expect(dockerfile).not.toMatch(/centos:7/);
  });
});

describe('003-2: one image, many services', () => {
  const charts = posp(new App()).map(manifestsOf);
  const services = charts.flat().filter(({ kind }) => kind === 'Deployment');

  it('ten services in four environments share one digest', () => {
    expect(services).toHaveLength(SERVICES.length * RUN_ENVIRONMENTS.length);
    const images = new Set(services.map((service) => podOf(service).containers[0].image));
    expect([...images]).toEqual([expect.stringMatching(/@sha256:[0-9a-f]{64}$/)]);
  });
  it('what tells them apart: PROC, GIT_DIR, RUNENV', () => {
    const told = new Set(services.map((service) => JSON.stringify(podOf(service).containers[0].env)));
    expect(told.size).toBe(services.length);
    expect(podOf(deployment).containers[0].env).toEqual([
      { name: 'RUNENV', value: 'pre' },
      { name: 'PROC', value: 'account_confirm' },
      { name: 'GIT_DIR', value: 'account_confirm' },
    ]);
  });
  it('every field is known to Kubernetes 1.36', () => {
    const nfs = { server: '10.0.116.71', path: '/data/log' };
    const all = [...charts.flat(), ...seed, ...manifestsOf(pospCluster(new App())), ...synth({ nfs, pullSecret: 'x' })];
    expect(all.flatMap(schemaProblems)).toEqual([]);
  });
});

describe('003-4: the sources, at an exact revision, before the container starts', () => {
  it('an init container, and no gitRepo volume', () => {
    expect(JSON.stringify(seed)).not.toContain('gitRepo');
    const checkout = podOf(deployment).initContainers[1];
    expect(checkout).toMatchObject({ name: 'checkout', command: ['/opt/launch/checkout'] });
    expect(checkout.env).toContainEqual({ name: 'GIT_REVISION', value: 'ecc71b65f2f09b2a044dff8d7f12d777e052b8b3' });
  });
  it('runs without root and without anything to write but the checkout and its scratch', () => {
    for (const { securityContext, name } of pod().initContainers)
      expect({ name, securityContext }).toMatchObject({
        name,
        securityContext: {
          runAsNonRoot: true,
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
        },
      });
  });
  it('one protocol, the one of its URL', () => {
    const protocol = (project: string) =>
      pod({ git: { ...PROPS.git, project } }).initContainers[1].env.find(({ name }: { name: string }) => name === 'GIT_PROTOCOLS').value;
    expect(['https://h/p', 'ssh://git@h/p', 'http://h/p'].map(protocol)).toEqual(['https', 'ssh', 'http']);
  });
  it('credentials from a Secret, out of reach of the service', () => {
    const { containers, initContainers, volumes } = pod({ git: { ...PROPS.git, credentialsSecret: 'posp-git' } });
    expect(volumes).toContainEqual({ name: 'git-credentials', secret: { secretName: 'posp-git', defaultMode: 0o440 } });
    const holders = [...initContainers, ...containers].filter(({ volumeMounts }) =>
      JSON.stringify(volumeMounts).includes('git-credentials'),
    );
    expect(holders.map(({ name }) => name)).toEqual(['checkout']);
    // and what it writes while it works is in memory, in a volume that nobody else mounts
    const scratch = [...initContainers, ...containers].filter(({ volumeMounts }) => JSON.stringify(volumeMounts).includes('"scratch"'));
    expect(scratch.map(({ name }) => name)).toEqual(['checkout']);
  });
});

describe('003-5: the Deployment', () => {
  it('posp-<release>, apps/v1, with a selector that matches', () => {
    expect(deployment).toMatchObject({ apiVersion: 'apps/v1', spec: { replicas: 1 } });
    expect(deployment.spec.template.metadata.labels).toMatchObject(deployment.spec.selector.matchLabels);
    expect(deployment.spec.selector.matchLabels).toMatchObject({ name: 'account-confirm' });
  });
  it('two releases of one program do not select each other', () => {
    const other = find(synth({ release: 'other' }), 'Deployment', 'posp-other');
    expect(other.spec.template.metadata.labels).not.toMatchObject(find(synth(), 'Deployment', 'posp-accp').spec.selector.matchLabels);
  });
  it('the volumes of the original: sources at /tmp, logs at /data/log', () => {
    const [service] = podOf(deployment).containers;
    expect(service.volumeMounts).toContainEqual({ name: 'git-volume', mountPath: '/tmp' });
    expect(service.volumeMounts).toContainEqual({ name: 'app-logs', mountPath: '/data/log' });
    expect(service).toMatchObject({
      name: 'account-confirm',
      image: '10.0.116.41:80/posp-verify/base_c:accp_record',
      imagePullPolicy: 'IfNotPresent',
    });
  });
  it('nfs.*, declared and unused by the original, holds the logs when asked to', () => {
    const chart = new Chart(new App(), 'test');
    EnvironmentService.fromValues(chart, 'service', VALUES, { release: 'accp', logsOnNfs: true });
    const spec = podOf(find(manifestsOf(chart), 'Deployment', 'posp-accp'));
    expect(spec.volumes).toContainEqual({ name: 'app-logs', nfs: { server: '10.0.116.71', path: '/data/log' } });
    for (const container of [spec.containers[0], spec.initContainers[2]])
      expect(container.volumeMounts).toContainEqual(expect.objectContaining({ name: 'app-logs', subPath: 'accp' }));
  });
});

describe('003-6: the log sidecar', () => {
  const sidecar = podOf(deployment).initContainers[2];
  const config = find(seed, 'ConfigMap', 'accp-finance-filebeat-config').data['filebeat.yml'];

  it('starts before the service and ends after it', () => {
    expect(sidecar).toMatchObject({ name: 'filebeat', restartPolicy: 'Always', image: '10.0.116.41:80/library/filebeat:latest' });
    expect(sidecar.volumeMounts).toContainEqual({ name: 'app-logs', mountPath: '/log', readOnly: true });
  });
  it("today's configuration: every option is one that filebeat 7.14 to 9 knows", () => {
    expect(filebeatProblems(config)).toEqual([]);
    const nfs = find(
      synth({
        nfs: { server: 'x', path: '/y' },
        filebeat: { ...PROPS.filebeat, redis: { hosts: ['rediss://r:6380'], key: 'k', passwordSecret: 's' } },
      }),
      'ConfigMap',
      'accp-filebeat-config',
    );
    expect(filebeatProblems(nfs.data['filebeat.yml'])).toEqual([]);
    expect(nfs.data['filebeat.yml']).toContain('file_identity.path');
  });
  it('the values of the original', () => {
    for (const line of ['- /log/*.log', String.raw`pattern: '^\['`, 'negate: true', 'match: after', 'tags: ["posp_trade_c"]'])
      expect(config).toContain(line);
    expect(config).toContain('hosts: ["10.0.116.62:6379"]\n  key: "logstash:redis"\n  datatype: list\n');
  });
  it.each(['filebeat.prospectors', 'enable:', 'port:', 'index:', 'multiline.pattern', 'type: log\n', 'hosts: "'])(
    'faults of the original: no %s',
    (word) => expect(config).not.toContain(word),
  );
  it("the original's own configuration would be refused", () => {
    const original =
      "filebeat.prospectors:\n- type: log\n  enable: true\n  paths: [/log/*.log]\noutput.redis:\n  enable: true\n  hosts: '10.0.116.62'\n  port: 6379\n";
    expect(filebeatProblems(original)).toEqual(
      expect.arrayContaining(['filebeat.prospectors is no option', 'output.redis.enable is no option', 'output.redis.port is no option']),
    );
  });
  it('the password of Redis comes from a Secret', () => {
    const redis = { hosts: ['r:6379'], key: 'k', passwordSecret: 'logstash-redis' };
    const manifests = synth({ filebeat: { ...PROPS.filebeat, redis } });
    expect(podOf(find(manifests, 'Deployment', 'posp-accp')).initContainers[2].env).toEqual([
      { name: 'REDIS_PASSWORD', valueFrom: { secretKeyRef: { name: 'logstash-redis', key: 'password' } } },
    ]);
    expect(find(manifests, 'ConfigMap', 'accp-filebeat-config').data['filebeat.yml']).toContain(`password: "'\${REDIS_PASSWORD}'"`);
  });
  it('another configuration rolls the pod', () => {
    const sum = (tags: string[]) =>
      find(synth({ filebeat: { ...PROPS.filebeat, tags } }), 'Deployment', 'posp-accp').spec.template.metadata.annotations[
        'baremetal.bms.io/config-checksum'
      ];
    expect(sum(['a'])).not.toBe(sum(['b']));
  });
});

describe('003-9: environments', () => {
  it.each(['dev', 'test', 'pre', 'product'])('%s is one', (runenv) => expect(problems({ runenv })).toEqual([]));
  it.each([
    ['prod', 'product'],
    ['pro', 'pre'],
    ['tset', 'test'],
    ['Product', 'product'],
    ['staging', 'pre'],
  ])('fault of the original: %s took production; here it is refused, and %s is named', (runenv, nearest) => {
    expect(problems({ runenv })).toEqual([
      `[test/service] ENVIRONMENT_RUNENV: accp.runenv is "${runenv}", which is no environment (did you mean "${nearest}"?). Use one of product, pre, test, dev; no other name ever means production`,
    ]);
  });
  it('so is an empty one', () => expect(problems({ runenv: '' })[0]).toContain('ENVIRONMENT_RUNENV: accp.runenv is ""'));
});

describe('problems, all at once', () => {
  const git = (changes: Partial<EnvironmentServiceProps['git']>) => ({ git: { ...PROPS.git, ...changes } });
  it.each<[string, Partial<EnvironmentServiceProps>, string]>([
    ['a branch', git({ revision: 'master' }), 'ENVIRONMENT_REVISION: accp.git.revision is "master", not a full commit id'],
    ['a short id', git({ revision: 'ecc71b6' }), 'ENVIRONMENT_REVISION'],
    [
      'a password in the URL',
      git({ project: 'https://u:hunter2@h/p' }),
      'ENVIRONMENT_PROJECT: accp.git.project is refused: it holds credentials',
    ],
    ['a path', git({ project: '/srv/git' }), 'ENVIRONMENT_PROJECT'],
    ['a file', git({ project: 'file:///srv/git' }), 'file is not among https, ssh and http'],
    ['credentials in clear', git({ project: 'http://h/p', credentialsSecret: 'x' }), 'ENVIRONMENT_CREDENTIALS_IN_CLEAR'],
    ['a program elsewhere', { proc: '../../bin/sh' }, 'ENVIRONMENT_VALUE: accp.proc'],
    ['an option', git({ directory: '-rf' }), 'ENVIRONMENT_VALUE: accp.git.directory'],
    ['no tag', { filebeat: { ...PROPS.filebeat, tags: [] } }, 'accp.filebeat.tags'],
    ['a host without a port', { filebeat: { ...PROPS.filebeat, redis: { hosts: ['10.0.116.62'], key: 'k' } } }, 'must be HOST:PORT'],
    [
      'a password in a host',
      { filebeat: { ...PROPS.filebeat, redis: { hosts: ['redis://:hunter2@r:1'], key: 'k' } } },
      'ENVIRONMENT_SECRET_AS_VALUE',
    ],
    ['a release in capitals', { release: 'Accp' }, 'Accp.release'],
    ['half a digest', { image: { repository: 'x', digest: 'sha256:abc' } }, 'ENVIRONMENT_VALUE: accp.image is'],
    ['an image without a tag', { image: { repository: 'x' } }, 'accp.image'],
    ['root by number', { runAsUser: 0 }, 'accp.runAsUser'],
  ])('%s', (_, changes, expected) => {
    const found = problems(changes);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(expected);
    expect(found[0]).not.toContain('hunter2');
  });
  it('several', () => expect(problems({ runenv: 'x', proc: '', ...git({ revision: '' }) })).toHaveLength(3));
});

describe("003-8: the seed's values.yaml as input", () => {
  it('is accepted as it is', () => expect(refusedValues(VALUES)).toEqual([]));

  it.each<[string, (text: string) => string, string]>([
    [
      'an unknown key',
      (text) => text.replace('  proc:', '  porc:'),
      'values.yaml:5:3: VALUES_KEY: unknown key "configmap.porc" (did you mean "configmap.proc"?). Use one of configmap.proc, configmap.project',
    ],
    [
      'an unknown section',
      (text) => `${text}filebeats: {}\n`,
      'values.yaml:17:1: VALUES_KEY: unknown key "filebeats" (did you mean "filebeat"?)',
    ],
    [
      'a missing key',
      (text) => text.replace(/ {2}revision:.*\n/, ''),
      'values.yaml:1:1: VALUES_MISSING: "git.revision" is missing. Add "git.revision"',
    ],
    ['a number', (text) => text.replace(/revision:.*/, 'revision: 1234567890'), 'VALUES_KIND: "git.revision" is not a text'],
    [
      'an image without a tag',
      (text) => text.replace(':latest', ''),
      'VALUES_KIND: "filebeat.image" is not an image with a tag or a digest',
    ],
    ['a section that is none', (text) => text.replace(/git:\n.*\n.*\n/, 'git: here\n'), 'VALUES_KIND: "git" is not a mapping'],
    ['no YAML', () => 'a: [', 'VALUES_SYNTAX'],
  ])('%s', (_, change, expected) => expect(refusedValues(change(VALUES))[0]).toContain(expected));

  it('a misspelt key is told once, and not as missing too', () => {
    expect(refusedValues(VALUES.replace('runenv', 'runnenv'))).toEqual([
      expect.stringContaining('values.yaml:16:1: VALUES_KEY: unknown key "runnenv" (did you mean "runenv"?)'),
    ]);
  });

  it('a typo in its RUNENV does not become production', () => {
    const found = problemsOf((app) => {
      const chart = new Chart(app, 'test');
      EnvironmentService.fromValues(chart, 'service', VALUES.replace('runenv: "pre"', 'runenv: "prod"'), { release: 'accp' });
      return chart;
    });
    expect(found[0]).toContain('did you mean "product"?');
  });
});

describe('no-gitrepo-volumes', () => {
  const chart = new Chart(new App(), 'test', { namespace: 'posp' });
  new NoGitRepoVolumes(chart, 'policy');
  const manifests = manifestsOf(chart);
  it('is cluster-wide, bound, and refuses pods with such a volume', () => {
    expect(manifests.map(({ kind }) => kind)).toEqual(['ValidatingAdmissionPolicy', 'ValidatingAdmissionPolicyBinding']);
    for (const { metadata } of manifests) expect(metadata).toEqual({ name: 'no-gitrepo-volumes' });
    expect(manifests[0]?.spec.validations[0].expression).toBe(
      '!has(object.spec.volumes) || !object.spec.volumes.exists(v, has(v.gitRepo))',
    );
    expect(manifests[1]?.spec).toEqual({ policyName: 'no-gitrepo-volumes', validationActions: ['Deny'] });
    expect(manifests.flatMap(schemaProblems)).toEqual([]);
  });
});
