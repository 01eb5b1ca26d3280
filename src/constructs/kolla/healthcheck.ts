/**
 * A container engine's healthcheck as probes. An engine only notes that a container is unhealthy; Kubernetes acts on it, so
 * what is checked decides: a check of the service itself takes it out of its Service and restarts it, a check of what it
 * depends on (healthcheck_port looks for its connections to the database or the queue) must not restart every service of a
 * site because the queue is away.
 */
import { type CodedError, nearest } from 'cdk8s-baremetal-contract';
import type { k8s } from 'cdk8s-plus-28';
import type { KollaHealthcheck } from './definition.ts';
import { kollaErrors } from './errors.ts';
import { literal } from './literal.ts';

const NUMBERS = ['interval', 'timeout', 'start_period', 'retries'] as const;
const KEYS = ['test', ...NUMBERS];
const OF_A_DEPENDENCY = /^\s*healthcheck_port\b/;

export type Probes = Pick<k8s.Container, 'startupProbe' | 'livenessProbe' | 'readinessProbe'>;

export function checkHealthcheck(given: KollaHealthcheck, at: string): CodedError[] {
  if (isNone(given)) return [];
  const place = `${at}.healthcheck`;
  const values: Readonly<Record<string, unknown>> = { ...given };
  return [
    ...Object.keys(given)
      .filter((key) => !KEYS.includes(key))
      .map((key) => kollaErrors.KOLLA_KEY_UNKNOWN({ at: place, key, nearest: nearest(key, KEYS), known: KEYS })),
    ...KEYS.filter((key) => values[key] === undefined || values[key] === '').map((key) =>
      kollaErrors.KOLLA_KEY_MISSING({ at: place, key }),
    ),
    ...NUMBERS.filter((key) => values[key] !== undefined && !/^\d+$/.test(String(values[key]))).map((key) =>
      kollaErrors.KOLLA_VALUE({ at: `${place}.${key}`, value: JSON.stringify(values[key]), rule: 'must be a whole number of seconds' }),
    ),
    ...(values.test !== undefined && commandOf(given) === undefined
      ? [
          kollaErrors.KOLLA_VALUE({
            at: `${place}.test`,
            value: JSON.stringify(given.test),
            rule: 'must be NONE, a command, [CMD, …] or [CMD-SHELL, "…"]',
          }),
        ]
      : []),
  ];
}

/** @param restarts - whether an unhealthy container is restarted; by default when the check is of the service itself */
export function probesOf(given: KollaHealthcheck | undefined, restarts?: boolean): Probes {
  const command = given && !isNone(given) ? commandOf(given) : undefined;
  if (!given || !command) return {};
  const seconds = (key: (typeof NUMBERS)[number]): number => Math.max(1, Number(given[key]));
  const [interval, timeout, retries] = [seconds('interval'), seconds('timeout'), seconds('retries')];
  const startPeriod = Number(given.start_period);
  const probe = { exec: { command: command.map(literal) }, timeoutSeconds: timeout };
  const readinessProbe = { ...probe, periodSeconds: interval, failureThreshold: retries };
  const restarting = restarts ?? !OF_A_DEPENDENCY.test(shellText(given) ?? command.join(' '));
  if (!restarting) return { readinessProbe: { ...readinessProbe, ...(startPeriod > 0 && { initialDelaySeconds: startPeriod }) } };
  // an engine counts failures only after start_period, then takes `retries` of them: asked for every 5 s, readiness comes sooner
  const startInterval = Math.min(interval, 5);
  return {
    startupProbe: {
      ...probe,
      periodSeconds: startInterval,
      failureThreshold: Math.ceil((startPeriod + retries * interval) / startInterval),
    },
    livenessProbe: { ...probe, periodSeconds: interval, failureThreshold: retries },
    readinessProbe,
  };
}

function isNone({ test }: KollaHealthcheck): boolean {
  return test === 'NONE' || (Array.isArray(test) && (test.length === 0 || test[0] === 'NONE'));
}

function commandOf(given: KollaHealthcheck): string[] | undefined {
  const shell = shellText(given);
  if (shell !== undefined) return shell.trim() === '' ? undefined : ['/bin/sh', '-c', shell];
  const [kind, ...words] = given.test;
  return kind === 'CMD' && words.length > 0 ? words : undefined;
}

function shellText({ test }: KollaHealthcheck): string | undefined {
  if (typeof test === 'string') return test;
  return test[0] === 'CMD-SHELL' && test.length === 2 ? test[1] : undefined;
}
