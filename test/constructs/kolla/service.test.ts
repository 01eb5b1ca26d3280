import { App } from 'cdk8s';
import { describe, expect, it } from 'vitest';
import { NOVA_API_CONFIG, novaApi } from '../../../examples/nova-api/app.ts';
import { schemaProblems } from '../../support/kubernetes-schema.ts';
import { find, manifestsOf } from '../../support/synth.ts';
import { pod, problems, synth, workload } from './service.ts';

type Named = { readonly name: string };
const named = <T extends Named>(list: readonly T[], name: string): T => {
  const found = list.find((item) => item.name === name);
  if (!found) throw new Error(`${name} is not among ${list.map((item) => item.name).join(', ')}`);
  return found;
};

/** As Kubernetes does it (`$(NAME)`, `$$`) in the values of variables, in commands and in those of probes. */
function expandedByKubelet(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replace(/\$(?:(\$)|\(([^)]*)\))/g, (all, dollar?: string, name = '') => (dollar ? '$' : (variables[name] ?? all)));
}

describe('001-2: the config directory', () => {
  it('ConfigMap and Secrets are one read-only directory, readable to root alone', () => {
    const files = { 'nova.conf': 'x', 'credentials.conf': { secret: 'nova', key: 'conf' } };
    const spec = pod({ files });
    expect(named(spec.volumes, 'config-files')).toEqual({
      name: 'config-files',
      projected: {
        defaultMode: 0o400,
        sources: [{ configMap: { name: 'nova-api' } }, { secret: { name: 'nova', items: [{ key: 'conf', path: 'credentials.conf' }] } }],
      },
    });
    for (const container of [spec.containers[0], named(spec.initContainers, 'configure')])
      expect(container.volumeMounts).toContainEqual({ name: 'config-files', mountPath: '/var/lib/kolla/config_files', readOnly: true });
    const { data } = find(synth({ files }), 'ConfigMap', 'nova-api');
    expect(Object.keys(data).sort()).toEqual(['config.json', 'nova.conf']);
  });

  it('clock, kernel modules and logs as in the definition', () => {
    const { volumes, containers } = pod();
    expect(volumes).toContainEqual({ name: 'etc-localtime', hostPath: { path: '/etc/localtime', type: 'File' } });
    expect(volumes).toContainEqual({ name: 'lib-modules', hostPath: { path: '/lib/modules', type: 'Directory' } });
    expect(volumes).toContainEqual({ name: 'kolla-logs', hostPath: { path: '/var/log/kolla', type: 'DirectoryOrCreate' } });
    expect(containers[0].volumeMounts).toContainEqual({ name: 'etc-localtime', mountPath: '/etc/localtime', readOnly: true });
    expect(containers[0].volumeMounts).toContainEqual({ name: 'lib-modules', mountPath: '/lib/modules', readOnly: true });
    expect(containers[0].volumeMounts).toContainEqual({ name: 'kolla-logs', mountPath: '/var/log/kolla' });
  });

  it('a named volume lies where it is told to', () => {
    const spec = pod({ definition: { volumes: ['nova_data:/var/lib/nova'] }, namedVolumes: { nova_data: { claim: 'nova' } } });
    expect(spec.volumes).toContainEqual({ name: 'nova-data', persistentVolumeClaim: { claimName: 'nova' } });
  });

  it('anonymous volumes, memory, propagation; empty strings are passed over', () => {
    const volumes = ['', '/var/lib/nova', '/run/netns:/run/netns:shared', '/sys/fs/cgroup:/sys/fs/cgroup:rslave,ro'];
    const spec = pod({ definition: { privileged: true, volumes, tmpfs: ['/run/lock:size=64m,mode=1777'] } });
    expect(spec.volumes).toContainEqual({ name: 'var-lib-nova', emptyDir: {} });
    expect(spec.volumes).toContainEqual({ name: 'run-lock', emptyDir: { medium: 'Memory', sizeLimit: '64Mi' } });
    const { volumeMounts } = spec.containers[0];
    expect(volumeMounts).toContainEqual({ name: 'run-netns', mountPath: '/run/netns', mountPropagation: 'Bidirectional' });
    expect(volumeMounts).toContainEqual({
      name: 'sys-fs-cgroup',
      mountPath: '/sys/fs/cgroup',
      readOnly: true,
      mountPropagation: 'HostToContainer',
    });
  });
});

describe('001-1: from definition to pod', () => {
  it('environment, the contract in it', () => {
    const { env } = pod({ definition: { environment: { OS_A: 1, TZ: 'UTC+3' } }, timeZone: 'Asia/Shanghai' }).containers[0];
    expect(Object.fromEntries(env.map(({ name, value }: { name: string; value: string }) => [name, value]))).toEqual({
      KOLLA_CONFIG_STRATEGY: 'COPY_ALWAYS',
      KOLLA_SERVICE_NAME: 'nova-api',
      TZ: 'UTC+3', // the item's own wins
      KOLLA_RUN_DIR: '/run/kolla',
      OS_A: '1',
      KOLLA_PREPARED: 'true',
    });
  });

  it('variables out of Secrets by reference', () => {
    const { env } = pod({ secretEnvironment: { DB_PASSWORD: { secret: 'nova', key: 'db' } } }).containers[0];
    expect(env).toContainEqual({ name: 'DB_PASSWORD', valueFrom: { secretKeyRef: { name: 'nova', key: 'db' } } });
  });

  it('a dollar sign is one: what the kubelet would take for a variable, or for an escaped dollar sign, arrives as it was written', () => {
    const texts = ['$(TZ)', '$$', 'a$$b$(TZ)$', '$$(TZ)', '$HOME $1', '$$$('];
    const healthcheck = { test: ['CMD', ...texts], interval: 1, timeout: 1, start_period: 1, retries: 1 };
    const environment = Object.fromEntries(texts.map((text, index) => [`V${index}`, text]));
    const [container] = pod({ definition: { environment, command: ['x', ...texts], healthcheck } }).containers;
    const seen = (text: string) => expandedByKubelet(text, { TZ: 'UTC' });
    expect(texts.map((_, index) => seen(named<Named & { value: string }>(container.env, `V${index}`).value))).toEqual(texts);
    expect(container.command.slice(1).map(seen)).toEqual(texts);
    expect(container.livenessProbe.exec.command.map(seen)).toEqual(texts);
    const shell = pod({ definition: { command: 'x $$ $(TZ)' } }).containers[0];
    expect(shell.command.map(seen)).toEqual(['/bin/sh', '-c', 'exec x $$ $(TZ)']);
  });

  it('the group is a label of nodes', () => {
    expect(pod().nodeSelector).toEqual({ 'baremetal.bms.io/group-nova-api': 'enabled' });
    expect(pod({ anyNode: true })).not.toHaveProperty('nodeSelector');
  });

  it('dimensions', () => {
    const dimensions = { mem_limit: '2g', mem_reservation: 536870912, cpu_quota: 150000, cpu_period: 100000, cpu_shares: 256 };
    expect(pod({ definition: { dimensions } }).containers[0].resources).toEqual({
      limits: { cpu: '1500m', memory: '2Gi' },
      requests: { cpu: '250m', memory: '536870912' },
    });
    expect(pod({ definition: { dimensions: {} } }).containers[0]).not.toHaveProperty('resources');
    // a weight may be more than a limit lets through; Kubernetes refuses a request that is
    expect(pod({ definition: { dimensions: { cpus: 0.5, cpu_shares: 1024 } } }).containers[0].resources).toEqual({
      limits: { cpu: '500m' },
      requests: { cpu: '500m' },
    });
  });

  it('enabled: false makes nothing', () => expect(synth({ definition: { enabled: false } })).toEqual([]));

  it('a DaemonSet on every node of the group', () => {
    expect(workload({ kind: 'daemon-set' }).spec.updateStrategy).toEqual({ type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1 } });
  });
});

describe('001-1: healthchecks become probes', () => {
  const check = { interval: 30, timeout: 10, start_period: '5', retries: 3 };
  const probes = (test: string | string[], more: Parameters<typeof pod>[0] = {}) => {
    const { startupProbe, livenessProbe, readinessProbe } = pod({ ...more, definition: { healthcheck: { ...check, test } } }).containers[0];
    return { startupProbe, livenessProbe, readinessProbe };
  };

  it('a check of the service itself restarts it', () => {
    const exec = { command: ['/bin/sh', '-c', 'healthcheck_curl http://127.0.0.1:8774'] };
    expect(probes(['CMD-SHELL', 'healthcheck_curl http://127.0.0.1:8774'])).toEqual({
      startupProbe: { exec, timeoutSeconds: 10, periodSeconds: 5, failureThreshold: 19 }, // 5 s + 3 x 30 s
      livenessProbe: { exec, timeoutSeconds: 10, periodSeconds: 30, failureThreshold: 3 },
      readinessProbe: { exec, timeoutSeconds: 10, periodSeconds: 30, failureThreshold: 3 },
    });
  });
  it('a check of what it depends on takes it out of service, and no more', () => {
    const { startupProbe, livenessProbe, readinessProbe } = probes(['CMD-SHELL', 'healthcheck_port nova-conductor 5672']);
    expect([startupProbe, livenessProbe]).toEqual([undefined, undefined]);
    expect(readinessProbe).toMatchObject({ initialDelaySeconds: 5 });
    expect(probes('healthcheck_port x 1', { restartUnhealthy: true }).livenessProbe).toBeDefined();
  });
  it('CMD is run without a shell', () => {
    expect(probes(['CMD', 'healthcheck_listen', 'nova', '8774']).livenessProbe.exec.command).toEqual([
      'healthcheck_listen',
      'nova',
      '8774',
    ]);
  });
  it.each(['NONE', ['NONE'], []])('%j is none', (test) => {
    const { containers } = pod({ definition: { healthcheck: { test } } });
    expect(Object.keys(containers[0]).filter((key) => key.endsWith('Probe'))).toEqual([]);
  });
  it('all five keys are needed, in whole seconds', () => {
    expect(problems({ definition: { healthcheck: { test: 'x', interval: '30s', timeout: 1, retries: 3 } } })).toEqual([
      expect.stringContaining('KOLLA_KEY_MISSING: nova-api.healthcheck has no "start_period"'),
      expect.stringContaining('KOLLA_VALUE: nova-api.healthcheck.interval is "30s"'),
    ]);
  });
});

describe('root exactly where the contract needs it', () => {
  it('the service runs without any of it; only the preparing containers are root', () => {
    const spec = pod({ runAs: { user: 42436, group: 42436 } });
    expect(spec.containers[0].securityContext).toEqual({
      runAsUser: 42436,
      runAsGroup: 42436,
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    });
    for (const { securityContext } of spec.initContainers)
      expect(securityContext).toMatchObject({
        runAsUser: 0,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'], add: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID'] },
      });
    expect(JSON.stringify(spec)).not.toContain('"privileged":true');
  });

  it('privileged only when the definition says so, and then the service alone', () => {
    const spec = pod({ definition: { privileged: true } });
    expect(spec.containers[0].securityContext).toEqual({ privileged: true });
    expect(
      spec.initContainers.every(({ securityContext }: { securityContext: { privileged: boolean } }) => !securityContext.privileged),
    ).toBe(true);
  });

  it('in place, as kolla does: sudo needs its set-uid bit, and nothing is prepared', () => {
    const spec = pod({ form: 'in-place' });
    expect(spec).not.toHaveProperty('initContainers');
    expect(spec.containers[0].securityContext).toMatchObject({ allowPrivilegeEscalation: true });
    expect(spec.containers[0].env.map(({ name }: Named) => name)).not.toContain('KOLLA_PREPARED');
  });

  it('what cdk8s-plus would have put there is not', () => {
    const [{ securityContext, startupProbe, imagePullPolicy }] = pod().containers;
    // /run_command and /etc are written (in place), the image's USER has a name and no number, and nothing listens that we know of
    expect(securityContext).not.toHaveProperty('readOnlyRootFilesystem');
    expect(securityContext).not.toHaveProperty('runAsNonRoot');
    expect(startupProbe).toBeUndefined();
    expect(imagePullPolicy).toBe('IfNotPresent');
  });

  it('the token of the API server is in no container', () => {
    expect(pod()).toMatchObject({ automountServiceAccountToken: false, enableServiceLinks: false });
    expect(JSON.stringify(pod())).not.toContain('serviceAccountToken');
  });
});

describe('our programs in images that have them not', () => {
  const launch = { image: 'registry.example.net/bms_launch:1.0' };
  it('as an image volume', () => {
    const spec = pod({ launch: { ...launch, by: 'image' } });
    expect(named(spec.volumes, 'launch')).toEqual({ name: 'launch', image: { reference: launch.image, pullPolicy: 'IfNotPresent' } });
    expect(spec.containers[0].command).toEqual(['/opt/launch/kolla_start']);
    expect(named<Named & { command: string[] }>(spec.initContainers, 'configure').command).toEqual(['/opt/launch/kolla_set_configs']);
    expect(spec.containers[0].volumeMounts).toContainEqual({ name: 'launch', mountPath: '/opt/launch', readOnly: true });
  });
  it('or copied by an init container', () => {
    const spec = pod({ launch: { ...launch, by: 'copy' } });
    expect(named(spec.volumes, 'launch')).toEqual({ name: 'launch', emptyDir: {} });
    expect(spec.initContainers[0]).toMatchObject({
      name: 'launch',
      image: launch.image,
      command: ['cp', '-R', '/opt/launch/.', '/launch'],
    });
  });
});

describe('problems, all at once', () => {
  it.each<[string, Parameters<typeof problems>[0], string]>([
    [
      'a named volume without a place',
      { definition: { volumes: ['kola_logs:/x'] } },
      'KOLLA_VOLUME_UNKNOWN: nova-api.volumes[0] is the named volume "kola_logs", and nothing says where it lies (did you mean "kolla_logs"?)',
    ],
    ['no volume', { definition: { volumes: ['a:b:c:d'] } }, 'KOLLA_VALUE: nova-api.volumes[0] is "a:b:c:d"'],
    [
      'two volumes at one place',
      { definition: { volumes: ['/a:/x', '/b:/x/'] } },
      'KOLLA_VALUE: nova-api.volumes[1] is "/x": it is already the target of nova-api.volumes[0]',
    ],
    ['a shared mount without the right to it', { definition: { volumes: ['/a:/a:shared'] } }, 'only a privileged container may'],
    [
      'an image that can be another tomorrow',
      { definition: { image: 'x/nova-api:latest' } },
      'KOLLA_VALUE: nova-api.image is "x/nova-api:latest"',
    ],
    ['an untagged image', { definition: { image: 'x:5000/nova-api' } }, 'KOLLA_VALUE: nova-api.image'],
    ['config through the environment', { definition: { environment: { KOLLA_CONFIG: '{}' } } }, 'KOLLA_VARIABLE_REFUSED'],
    [
      'a password in the environment',
      { definition: { environment: { OS_PASSWORD: 'hunter2' } } },
      'KOLLA_SECRET_AS_VALUE: nova-api.environment.OS_PASSWORD',
    ],
    [
      'a password in a file',
      { files: { 'nova.conf': '[database]\nconnection = mysql://nova:hunter2@db/nova\n' } },
      'KOLLA_SECRET_AS_VALUE: nova-api.files["nova.conf"]',
    ],
    ['a password line in a file', { files: { 'nova.conf': 'password = hunter2\n' } }, 'KOLLA_SECRET_AS_VALUE'],
    ['swap', { definition: { dimensions: { memswap_limit: '1g' } as object } }, 'KOLLA_NO_SUCH_FIELD: nova-api.dimensions.memswap_limit'],
    ['an unknown dimension', { definition: { dimensions: { mem_limits: '1g' } as object } }, 'did you mean "mem_limit"'],
    ['volumes_from', { definition: { volumes_from: ['x'] } }, 'KOLLA_NO_SUCH_FIELD: nova-api.volumes_from'],
    ['a namespace of cgroups', { definition: { cgroupns_mode: 'host' } }, 'KOLLA_NO_SUCH_FIELD: nova-api.cgroupns_mode'],
    ['a profile', { definition: { security_opt: ['apparmor:x'] } }, 'KOLLA_NO_SUCH_FIELD: nova-api.security_opt'],
    [
      'a source that is not there',
      { files: { 'nova.cnf': 'x' } },
      'KOLLA_SOURCE_MISSING: nova-api.config.config_files[0] copies /var/lib/kolla/config_files/nova.conf, which is not among the files of the config directory (did you mean "nova.cnf"?)',
    ],
    [
      'a destination that cannot be shared',
      { config: { command: 'x', config_files: [{ source: '/x', dest: '/etc/x.conf', owner: 'a', perm: '0600' }] } },
      'KOLLA_DEST_TOO_WIDE: nova-api.config.config_files[0].dest is /etc/x.conf',
    ],
    [
      'permissions nobody shares',
      { config: { command: 'x', permissions: [{ path: '/var/lib/nova', owner: 'a' }] } },
      'KOLLA_PATH_NOT_SHARED: nova-api.config.permissions[0].path is /var/lib/nova',
    ],
    [
      'no owner',
      { config: { command: 'x', config_files: [{ source: '/x', dest: '/etc/nova/x' }] } },
      'KOLLA_KEY_MISSING: nova-api.config.config_files[0] has no "owner"',
    ],
    ['no command', { config: { command: ' ' } }, 'nova-api.config.command'],
    ['no strategy', { strategy: 'COPY_ALLWAYS' as 'COPY_ALWAYS' }, 'nearest: COPY_ALWAYS'],
    ['a job twice', { jobs: { before: ['upgrade'], after: ['upgrade'] } }, 'nova-api.jobs'],
  ])('%s', (_, changes, expected) => {
    const found = problems(changes);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(expected);
    expect(found[0]).toMatch(/^\[test\/nova-api\]/);
    expect(found[0]).not.toContain('hunter2');
  });

  it('several', () => {
    expect(problems({ definition: { image: 'x', cap_add: ['net admin'] }, config: { command: '' }, files: {} })).toHaveLength(3);
  });

  it('in place, any destination will do', () => {
    const config = { command: 'x', config_files: [{ source: '/x', dest: '/etc/x.conf', owner: 'a', perm: '0600' }] };
    expect(problems({ config, form: 'in-place' })).toEqual([]);
  });
});

describe('the example', () => {
  const manifests = manifestsOf(novaApi(new App()));
  it('every field is known to Kubernetes 1.36, in every form', () => {
    const launch = { image: 'x/y:1', by: 'image' } as const;
    const jobs = { before: ['bootstrap'], after: ['online-migration'] } as const;
    const all = [manifests, synth(), synth({ kind: 'daemon-set', launch, jobs }), synth({ form: 'in-place', jobs })];
    expect(all.flat().flatMap(schemaProblems)).toEqual([]);
    expect(manifests).toHaveLength(8);
  });
  it('synthesizes the same every time, without a password', () => {
    expect(JSON.stringify(manifestsOf(novaApi(new App())))).toBe(JSON.stringify(manifests));
    expect(NOVA_API_CONFIG.config_files).toHaveLength(3);
    expect(JSON.stringify(manifests)).not.toMatch(/password\s*=\s*\S/);
  });
});
