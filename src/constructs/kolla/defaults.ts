/** Service definitions out of a kolla-ansible defaults/main.yml. */
import { type CodedError, nearest } from 'cdk8s-baremetal-contract';
import { kollaPath } from 'cdk8s-baremetal-contract/launch/index';
import { asObject } from 'cdk8s-baremetal-contract/loose';
import { parse } from 'yaml';
import { checkKeys, definitionOf, type KollaDefinition } from './definition.ts';
import { kollaErrors } from './errors.ts';
import { Variables } from './expression.ts';

export interface KollaDefaultsOptions {
  /** Values of variables; they win over those of the file. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** What kolla-ansible's group_vars give every role. */
const COMMON: Readonly<Record<string, unknown>> = {
  node_config: kollaPath.nodeConfig,
  node_config_directory: kollaPath.nodeConfig,
  container_config_directory: kollaPath.configFiles,
  config_strategy: 'COPY_ALWAYS',
  default_container_dimensions: {},
  default_container_healthcheck_interval: 30,
  default_container_healthcheck_timeout: 30,
  default_container_healthcheck_retries: 3,
  default_container_healthcheck_start_period: 5,
};

/** Everything that is wrong with a file of definitions, one line each. */
export class KollaDefaultsError extends Error {
  constructor(readonly problems: readonly CodedError[]) {
    super(problems.map(String).join('\n'));
    this.name = 'KollaDefaultsError';
  }
}

/**
 * The services that `text` defines, by name: mappings with a container_name, at the top or under a key that ends in _services.
 * Other keys are variables, as for Ansible; only those that a service needs are looked at.
 * @throws KollaDefaultsError with all problems
 */
export function parseKollaDefaults(text: string, options: KollaDefaultsOptions = {}): ReadonlyMap<string, KollaDefinition> {
  const found = new Map<string, KollaDefinition>();
  for (const name of namesIn(read(text))) found.set(name, parseKollaService(text, name, options));
  return found;
}

/** One service of the file; its neighbours may need variables that nobody gave. */
export function parseKollaService(
  text: string,
  service: string | undefined,
  { variables = {} }: KollaDefaultsOptions = {},
): KollaDefinition {
  const file = read(text);
  const names = namesIn(file);
  const name = service ?? (names.length === 1 ? names[0] : undefined) ?? '';
  const given = servicesIn(file).get(name);
  if (given === undefined)
    throw new KollaDefaultsError([kollaErrors.KOLLA_SERVICE_UNKNOWN({ service: name, nearest: nearest(name, names), known: names })]);
  const problems: CodedError[] = [];
  const scope = new Variables(new Map([...Object.entries(COMMON), ...Object.entries(file), ...Object.entries(variables)]), problems);
  const resolved = scope.resolve(given, name);
  problems.push(...(problems.length === 0 ? checkKeys(asObject(resolved), name) : []));
  if (problems.length > 0) throw new KollaDefaultsError(problems);
  return definitionOf(asObject(resolved));
}

function read(text: string): Readonly<Record<string, unknown>> {
  try {
    return asObject(parse(text, { maxAliasCount: 100, uniqueKeys: true, logLevel: 'error' }));
  } catch (error) {
    throw new KollaDefaultsError([kollaErrors.KOLLA_DEFAULTS_SYNTAX({ reason: (error as Error).message.split('\n')[0] ?? '' })]);
  }
}

function namesIn(file: Readonly<Record<string, unknown>>): string[] {
  return [...servicesIn(file).keys()];
}

function servicesIn(file: Readonly<Record<string, unknown>>): Map<string, unknown> {
  const services = new Map<string, unknown>();
  for (const [key, value] of Object.entries(file)) {
    if ('container_name' in asObject(value)) services.set(key, value);
    else if (key.endsWith('_services')) for (const [name, service] of Object.entries(asObject(value))) services.set(name, service);
  }
  return services;
}
