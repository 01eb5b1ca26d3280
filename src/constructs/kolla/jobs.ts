/**
 * kolla's one-time containers as Jobs: a database's schema before the new code runs, its data after. Nothing but the API server
 * knows how far they are, so what has to wait asks it, with a token that may `get` exactly the objects it waits for.
 *
 * Every release makes Jobs of its own: a Job's template cannot be changed, and `kubectl apply` would leave a finished one alone.
 */
import { kollaVariable } from 'cdk8s-baremetal-contract/launch/index';
import type { k8s } from 'cdk8s-plus-28';
import { UNPRIVILEGED } from '../unprivileged.ts';
import { WAIT_FOR } from './scripts.ts';

export type KollaJobKind = 'bootstrap' | 'upgrade-check' | 'upgrade' | 'online-migration';

export const KOLLA_JOB_VARIABLE: Readonly<Record<KollaJobKind, string>> = {
  bootstrap: kollaVariable.bootstrap,
  'upgrade-check': kollaVariable.upgradeCheck,
  upgrade: kollaVariable.upgrade,
  'online-migration': kollaVariable.onlineMigration,
};

/** What a container waits for. */
export type Awaited =
  | { readonly kind: 'job'; readonly name: string }
  | {
      readonly kind: 'rollout';
      readonly resource: 'deployments' | 'daemonsets';
      readonly name: string;
      readonly release: string;
    };

/** That they are set is what counts. An empty value would too, but the API server drops it, and every apply would find a difference. */
export const SET = 'true';

export const TOKEN_VOLUME = 'api-token';
const TOKEN_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount';
const TOKEN_SECONDS = 3600;

export function jobName(service: string, kind: KollaJobKind, release: string): string {
  return `${service}-${kind}-${release.slice(0, 10)}`;
}

export function waitContainer(image: string, awaited: Awaited): k8s.Container {
  const args = awaited.kind === 'job' ? ['job', awaited.name] : ['rollout', awaited.resource, awaited.name, awaited.release];
  return {
    name: 'wait',
    image,
    imagePullPolicy: 'IfNotPresent',
    command: ['/bin/sh', '-euc', WAIT_FOR, 'wait', ...args],
    securityContext: UNPRIVILEGED,
    volumeMounts: [{ name: TOKEN_VOLUME, mountPath: TOKEN_DIRECTORY, readOnly: true }],
  };
}

/**
 * What automountServiceAccountToken would mount into every container, for the waiting one alone. With the defaults that the API
 * server fills into a projection's list: kubectl compares such a list as a whole, and would find a difference at every apply.
 */
export function tokenVolume(): k8s.Volume {
  return {
    name: TOKEN_VOLUME,
    projected: {
      sources: [
        { serviceAccountToken: { path: 'token', expirationSeconds: TOKEN_SECONDS } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        { downwardApi: { items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }] } },
      ],
    },
  };
}

/** The service's pod as a Job's: its one container started for one purpose, without probes. */
export function jobPod(pod: k8s.PodSpec, kind: KollaJobKind, awaited: Awaited | undefined, serviceAccount: string): k8s.PodSpec {
  const containers = pod.containers.map(({ startupProbe: _, livenessProbe: __, readinessProbe: ___, env = [], ...container }) => ({
    ...container,
    env: [...env, { name: KOLLA_JOB_VARIABLE[kind], value: SET }],
  }));
  return waiting({ ...pod, containers, restartPolicy: 'Never' }, awaited, serviceAccount);
}

/** The pod with an init container in front that waits. */
export function waiting(pod: k8s.PodSpec, awaited: Awaited | undefined, serviceAccount: string): k8s.PodSpec {
  const [service] = pod.containers;
  if (!awaited || !service) return pod;
  return {
    ...pod,
    serviceAccountName: serviceAccount,
    initContainers: [waitContainer(service.image ?? '', awaited), ...(pod.initContainers ?? [])],
    volumes: [...(pod.volumes ?? []), tokenVolume()],
  };
}
