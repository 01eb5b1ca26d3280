/** bms-core's configuration on one pod: what the model implies, then what the site overrides. */
import { type BmsCoreConfig, type BmsCoreConfigInput, bmsCoreConfig } from './bms-core-config.ts';
import { problemsOf } from './config/errors.ts';
import { checkDerived, deriveFromVip1800 } from './config/vip-derived.ts';
import type { CodedError } from './errors.ts';
import { PROVISIONING_VLAN } from './names.ts';
import { path } from './paths.ts';
import { coordinationOf, type PodSpec, type SiteSpec } from './site-spec.ts';

/** What a pod's configuration depends on beside the pod. */
export type ConfigContext = Pick<SiteSpec, 'zookeeper' | 'namespace'> &
  Partial<Pick<SiteSpec, 'name'>> & { readonly bmsCore?: Pick<SiteSpec['bmsCore'], 'api' | 'store' | 'coordination'> };

/** Sections whose defaults are written out, so that the file says what the daemon does. */
const WRITTEN_OUT = ['DEFAULT', 'pxe', 'sw_coordination', 'sw_conn'] as const;

/** The members of the site's ensemble by the names that its headless Service gives them; none when it has no ensemble. */
export function ensembleHosts(site: ConfigContext): string[] {
  if (site.zookeeper?.form !== 'ensemble') return [];
  return site.zookeeper.hosts.map((_, index) => `zookeeper-${index}.zookeeper.${site.namespace}.svc`);
}

/** The text of baremetal-api.ini. */
export function podConfigText(site: ConfigContext, pod: PodSpec): string {
  return bmsCoreConfig.render(podConfigInput(site, pod));
}

/** The values that the daemon will read from it. */
export function podConfig(site: ConfigContext, pod: PodSpec): BmsCoreConfig {
  return bmsCoreConfig.parse(podConfigText(site, pod));
}

/** Everything wrong with a pod's overrides; `pod` itself must be well-formed. */
export function podConfigProblems(site: ConfigContext, pod: PodSpec): readonly CodedError[] {
  const vip1800 = pod.vips[String(PROVISIONING_VLAN)];
  if (vip1800 === undefined) return []; // told as SITE_VIP_MISSING
  try {
    const values = podConfigInput(site, pod);
    bmsCoreConfig.render(values);
    return checkDerived(values, { vip1800, ensembleHosts: ensembleHosts(site) });
  } catch (error) {
    const problems = problemsOf(error);
    if (problems.length === 0) throw error;
    return problems;
  }
}

function podConfigInput(site: ConfigContext, pod: PodSpec): BmsCoreConfigInput {
  const derived = deriveFromVip1800(pod.vips[String(PROVISIONING_VLAN)] ?? '', { ensembleHosts: ensembleHosts(site) });
  const defaults: BmsCoreConfig = bmsCoreConfig.parse('[sw_coordination]\nbackend_url = memory://\n');
  const values: Record<string, Record<string, unknown>> = {};
  const add = (section: string, entries: object): void => {
    values[section] = { ...values[section], ...entries };
  };
  for (const section of WRITTEN_OUT) add(section, defaults[section]);
  for (const [section, entries] of Object.entries(derived)) add(section, entries);
  // a pod's own Leases, as its records
  if (site.bmsCore && site.name !== undefined && coordinationOf(site) === 'kubernetes')
    add('sw_coordination', { backend_url: `kubernetes:///${pod.name}-${site.name}` });
  const { tokens, tls } = site.bmsCore?.api ?? {};
  if (tokens) add('api', { tokens_file: path.apiTokensFile });
  if (tls) add('api', { tls_cert: path.apiTlsCert, tls_key: path.apiTlsKey });
  for (const [section, entries] of Object.entries(pod.config)) add(section, entries);
  return values as BmsCoreConfigInput; // render checks every name and value
}
