/**
 * A component's configuration as data. OneCloud services read YAML with one flat mapping of options; a few programs that are
 * not OneCloud's own have files of another form. Secrets stand in it as placeholders (see render-secrets.ts), so that the
 * text can live in a ConfigMap.
 */
import { credentialKey, onecloudPath } from '../names.ts';
import { placeholder } from '../render-secrets.ts';

export type OptionValue = string | number | boolean | readonly string[];
export type Options = Readonly<Record<string, OptionValue>>;

/** What a configuration depends on beside the component itself. */
export interface ConfigFacts {
  readonly cluster: string;
  readonly namespace: string;
  readonly region: string;
  readonly zone: string;
  readonly mysql: { readonly host: string; readonly port: number };
  /** Address under which users reach the cluster: a load balancer or a node. Empty when nobody said one. */
  readonly publicAddress: string;
  readonly regionServer: { readonly dnsServer?: string; readonly dnsDomain: string };
  readonly dnsProxies: readonly { readonly from: string; readonly to: readonly string[] }[];
  /** The component's own port, database and account, as its row has them. */
  readonly port?: number;
  readonly database?: { readonly name: string; readonly user: string };
  readonly account?: { readonly user: string };
  /** DNS name of another component's Service. */
  readonly hostOf: (component: string) => string;
  /** Whether another component runs, by its name. */
  readonly runs: (component: string) => boolean;
}

export type ConfigTemplate =
  | { readonly format: 'yaml'; readonly options: (facts: ConfigFacts) => Options }
  | { readonly format: 'text'; readonly text: (facts: ConfigFacts) => string };

/** The text that the ConfigMap holds; the same facts give the same bytes. */
export function renderTemplate(template: ConfigTemplate, facts: ConfigFacts): string {
  return template.format === 'text' ? template.text(facts) : renderOptions(template.options(facts));
}

/** Options in alphabetical order, strings always double-quoted: nothing is then read as another type, and placeholders fit. */
export function renderOptions(options: Options): string {
  const names = Object.keys(options).sort();
  return names.map((name) => `${name}: ${renderValue(options[name] ?? '')}\n`).join('');
}

function renderValue(value: OptionValue): string {
  // JSON strings and arrays are YAML flow scalars and sequences
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : JSON.stringify(value);
}

/** The options of every OneCloud service: where it listens, with which certificate. */
export function serviceOptions({ region, port }: ConfigFacts): Options {
  return {
    region,
    log_level: 'info',
    address: '0.0.0.0',
    ...(port !== undefined && { port }),
    enable_ssl: true,
    ssl_ca_certs: `${onecloudPath.certificates}/ca.crt`,
    ssl_certfile: `${onecloudPath.certificates}/service.crt`,
    ssl_keyfile: `${onecloudPath.certificates}/service.key`,
  };
}

/** How a service that has a database reaches it. The init container brings the tables up, so the service itself does not. */
export function databaseOptions({ mysql, database }: ConfigFacts, { syncTables = false } = {}): Options {
  if (database === undefined) throw new Error('the component has no database');
  return { sql_connection: sqlConnection(mysql, database), auto_sync_table: syncTables };
}

export function sqlConnection(mysql: ConfigFacts['mysql'], { name, user }: { readonly name: string; readonly user: string }): string {
  const password = placeholder(credentialKey.database, 'url');
  return `mysql+pymysql://${user}:${password}@${mysql.host}:${mysql.port}/${name}?charset=utf8`;
}

/** How a service that is not Keystone talks to the others. */
export function accountOptions({ hostOf, account }: ConfigFacts): Options {
  if (account === undefined) throw new Error('the component has no Keystone account');
  return {
    auth_url: `https://${hostOf('keystone')}:${KEYSTONE_ADMIN_PORT}/v3`,
    admin_user: account.user,
    admin_password: placeholder(credentialKey.account),
    admin_domain: 'Default',
    admin_project: 'system',
    admin_project_domain: 'Default',
    session_endpoint_type: 'internal',
  };
}

export const KEYSTONE_ADMIN_PORT = 30357;
