/**
 * What kolla_container compares between a running container and its definition, and what a difference does here: another pod
 * template, so that a rollout follows; or nothing, where kolla's own rule is to leave the container alone.
 */
import { describe, expect, it } from 'vitest';
import { type Changes, PROPS, pod, problems, synth, workload } from './service.ts';

const check = { test: 'healthcheck_curl http://x', interval: 30, timeout: 30, start_period: 5, retries: 3 };
const template = (changes: Changes): string => JSON.stringify(workload(changes).spec.template);
const at = (changes: Changes, path: string): unknown =>
  // biome-ignore lint/suspicious/noExplicitAny: the table names paths
  path.split('.').reduce<any>((value, key) => value?.[key], workload(changes).spec.template);

const CONTAINER = 'spec.containers.0';

/** Field of the compare list, what to change, where it shows in the pod template. */
const ROLLS: readonly [string, Changes, string][] = [
  ['cap_add', { definition: { cap_add: ['NET_ADMIN'] } }, `${CONTAINER}.securityContext.capabilities.add`],
  ['security_opt', { definition: { security_opt: ['seccomp=unconfined'] } }, `${CONTAINER}.securityContext.seccompProfile.type`],
  ['image', { definition: { image: 'registry.example.net/kolla/nova-api:2026.2' } }, `${CONTAINER}.image`],
  ['ipc_mode', { definition: { ipc_mode: 'host' } }, 'spec.hostIPC'],
  ['labels', { definition: { labels: { tier: 'api' } } }, 'metadata.labels.tier'],
  ['privileged', { definition: { privileged: true } }, `${CONTAINER}.securityContext.privileged`],
  ['pid_mode', { definition: { pid_mode: 'host' } }, 'spec.hostPID'],
  ['tmpfs', { definition: { tmpfs: ['/run'] } }, 'spec.volumes.6.emptyDir.medium'],
  ['volumes', { definition: { volumes: [...(PROPS.definition.volumes ?? []), '/dev:/dev'] } }, `${CONTAINER}.volumeMounts.5.mountPath`],
  ['environment', { definition: { environment: { A: 'b' } } }, `${CONTAINER}.env.4.value`],
  ['dimensions', { definition: { dimensions: { mem_limit: '1g' } } }, `${CONTAINER}.resources.limits.memory`],
  ['command', { definition: { command: ['nova-api', '--debug'] } }, `${CONTAINER}.command`],
  ['healthcheck', { definition: { healthcheck: check } }, `${CONTAINER}.livenessProbe.exec.command`],
  ['config: a file', { files: { 'nova.conf': '[DEFAULT]\ndebug = true\n' } }, ''],
  ['config: the command', { config: { ...PROPS.config, command: 'nova-api --debug' } }, ''],
];

describe('001-3 compare: every difference that kolla sees rolls the pods', () => {
  it.each(ROLLS)('%s', (_, changes, path) => {
    expect(template(changes)).not.toBe(template({}));
    if (path !== '') expect(at(changes, path)).not.toEqual(at({}, path));
  });

  it('volumes_from and cgroupns_mode have no field, and are refused rather than lost', () => {
    expect(problems({ definition: { volumes_from: ['x'], cgroupns_mode: 'host' } })).toHaveLength(2);
    // what the runtime does in any case
    expect(template({ definition: { cgroupns_mode: 'private', volumes_from: [] } })).toBe(template({}));
  });

  it('container_state is the business of the controller', () => {
    expect(pod().restartPolicy).toBeUndefined(); // Always
  });

  it('nothing differs: nothing rolls, also when the order of keys does', () => {
    const { volumes, ...rest } = PROPS.definition;
    expect(template({ definition: { ...rest, volumes: volumes ?? [] } })).toBe(template({}));
    expect(template({ files: { ...PROPS.files } })).toBe(template({}));
  });

  it('COPY_ALWAYS: another configuration is another checksum', () => {
    const checksum = (changes: Changes): string => workload(changes).spec.template.metadata.annotations['baremetal.bms.io/config-checksum'];
    expect(checksum({})).toMatch(/^[0-9a-f]{64}$/);
    expect(checksum({ files: { 'nova.conf': 'x' } })).not.toBe(checksum({}));
  });

  it('COPY_ONCE: a changed configuration reaches new pods and leaves the running ones alone', () => {
    const once = { strategy: 'COPY_ONCE' } as const;
    expect(template({ ...once, files: { 'nova.conf': '[DEFAULT]\ndebug = true\n' } })).toBe(template(once));
    expect(template({ ...once, definition: { image: 'x/nova-api:2' } })).not.toBe(template(once));
    const configMap = (changes: Changes) => JSON.stringify(synth(changes).find(({ kind }) => kind === 'ConfigMap'));
    expect(configMap({ ...once, files: { 'nova.conf': 'x' } })).not.toBe(configMap(once));
  });
});

describe('001-3: the other actions', () => {
  it('create, start: a Deployment starts what is absent and pulls what is absent', () => {
    expect(workload().spec.replicas).toBe(1);
    expect(pod().containers[0].imagePullPolicy).toBe('IfNotPresent');
  });
  it('recreate_or_restart pulls before it stops: the new pod is up before the old one goes', () => {
    expect(workload().spec.strategy).toEqual({ type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } });
  });
  it("on the host's network both would want the same ports: there the old one goes first", () => {
    expect(workload({ hostNetwork: true }).spec.strategy.rollingUpdate).toEqual({ maxSurge: 0, maxUnavailable: 1 });
    expect(pod({ hostNetwork: true })).toMatchObject({ hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet' });
  });
  it('stop: no pod, and graceful_timeout to end in; the template stays as it is', () => {
    expect(workload({ stopped: true, replicas: 3 }).spec.replicas).toBe(0);
    expect(pod().terminationGracePeriodSeconds).toBe(60);
    expect(template({ stopped: true })).toBe(template({}));
  });
});
