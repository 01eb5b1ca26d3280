/** A service as kolla-ansible's roles/<project>/defaults/main.yml defines it, and what the keys may hold. */
import { type CodedError, nearest } from 'cdk8s-baremetal-contract';
import { kollaErrors } from './errors.ts';

export interface KollaDefinition {
  readonly container_name: string;
  /** Inventory group: the nodes that carry its label. */
  readonly group: string;
  /** repository:tag or repository@sha256:…, as a container engine takes it. */
  readonly image: string;
  /** @default true */
  readonly enabled?: boolean;
  /** @default false */
  readonly privileged?: boolean;
  /** "source:target[:mode]"; "name:target" is a named volume, "target" alone an anonymous one. Empty strings are passed over. */
  readonly volumes?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number | boolean>>;
  readonly dimensions?: KollaDimensions;
  /** Absent or { test: NONE }: none. */
  readonly healthcheck?: KollaHealthcheck;
  /** In place of the image's CMD, kolla_start. */
  readonly command?: string | readonly string[];
  readonly cap_add?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly ipc_mode?: string;
  readonly pid_mode?: string;
  readonly cgroupns_mode?: string;
  /** "path" or "path:size=64m,…" each. */
  readonly tmpfs?: readonly string[];
  readonly volumes_from?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
}

/** Limits as the Docker API has them: memory in bytes or with b, k, m, g. */
export interface KollaDimensions {
  readonly mem_limit?: string | number;
  readonly mem_reservation?: string | number;
  readonly cpus?: string | number;
  readonly cpu_period?: string | number;
  readonly cpu_quota?: string | number;
  readonly cpu_shares?: string | number;
}

/** Times in seconds. All five keys are needed, as kolla_container wants them. */
export interface KollaHealthcheck {
  readonly test: string | readonly string[];
  readonly interval?: string | number;
  readonly timeout?: string | number;
  readonly start_period?: string | number;
  readonly retries?: string | number;
}

type Kind = 'text' | 'boolean' | 'list' | 'mapping' | 'text or list';

const KEYS: Readonly<Record<keyof KollaDefinition, Kind>> = {
  container_name: 'text',
  group: 'text',
  image: 'text',
  enabled: 'boolean',
  privileged: 'boolean',
  volumes: 'list',
  environment: 'mapping',
  dimensions: 'mapping',
  healthcheck: 'mapping',
  command: 'text or list',
  cap_add: 'list',
  security_opt: 'list',
  ipc_mode: 'text',
  pid_mode: 'text',
  cgroupns_mode: 'text',
  tmpfs: 'list',
  volumes_from: 'list',
  labels: 'mapping',
};
/** Of a service, but not of its container: kolla-ansible's own load balancer and inventory read them. */
const NOT_THE_CONTAINERS = ['haproxy', 'host_in_groups', 'proxysql'];
const REQUIRED = ['container_name', 'group', 'image'] as const;
const RULES: Readonly<Record<Kind, string>> = {
  text: 'must be text',
  boolean: 'must be true or false',
  list: 'must be a list of texts',
  mapping: 'must be a mapping of names to texts, numbers and truth values',
  'text or list': 'must be a text or a list of texts',
};

/** What is wrong with the keys of a definition and the kinds of their values. `at` is the service's name. */
export function checkKeys(definition: Readonly<Record<string, unknown>>, at: string): CodedError[] {
  const known = Object.keys(KEYS);
  const missing = REQUIRED.filter((key) => definition[key] === undefined || definition[key] === '');
  return [
    ...missing.map((key) => kollaErrors.KOLLA_KEY_MISSING({ at, key })),
    ...Object.entries(definition).flatMap(([key, value]) => {
      if (NOT_THE_CONTAINERS.includes(key) || value === undefined || value === '') return [];
      const kind = KEYS[key as keyof KollaDefinition];
      if (kind === undefined) return [kollaErrors.KOLLA_KEY_UNKNOWN({ at, key, nearest: nearest(key, known), known })];
      if (isA(kind, value)) return [];
      return [kollaErrors.KOLLA_VALUE({ at: `${at}.${key}`, value: JSON.stringify(value), rule: RULES[kind] })];
    }),
  ];
}

/** The definition alone: without what other parts of kolla-ansible read, and without what is empty. */
export function definitionOf(given: Readonly<Record<string, unknown>>): KollaDefinition {
  const kept = Object.entries(given).filter(([key, value]) => key in KEYS && value !== undefined && value !== '');
  return Object.fromEntries(kept) as unknown as KollaDefinition;
}

/** "nova_api" → "nova-api": KOLLA_SERVICE_NAME, and the name of the objects. */
export function serviceName({ container_name }: Pick<KollaDefinition, 'container_name'>): string {
  return container_name.replaceAll('_', '-');
}

function isA(kind: Kind, value: unknown): boolean {
  const texts = Array.isArray(value) && value.every((item) => typeof item === 'string');
  switch (kind) {
    case 'text':
      return typeof value === 'string';
    case 'boolean':
      return typeof value === 'boolean';
    case 'list':
      return texts;
    case 'mapping':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'text or list':
      return typeof value === 'string' || texts;
  }
}
