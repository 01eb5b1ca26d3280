/**
 * Everything that can be wrong with the sites of one app, found in one pass and told with its place. Works on what people
 * wrote, not on what parsed: a malformed field hides no duplicate.
 */
import type { z } from 'zod';
import { isHostOf, normalizeMac, parseIpv4, parseSubnet, suggestSubnet } from './addresses.ts';
import { type CodedError, nearest } from './errors.ts';
import { MANAGEMENT_VLAN, PROVISIONING_VLAN, parseNodeName } from './names.ts';
import { port as ports } from './ports.ts';
import { siteErrors } from './site-errors.ts';
import { siteSpecSchema } from './site-spec.ts';

/** Keys and indices from the site down to the value: ['pods', 0, 'vips', '1800']. */
export type DataPath = readonly (string | number)[];

export interface SiteProblem {
  /** Index into the sites given to `validateSites`. */
  readonly site: number;
  readonly path: DataPath;
  readonly error: CodedError;
}

/** pods[0].vips.1800 */
export function formatPath(path: DataPath): string {
  return path.reduce<string>((text, key) => (typeof key === 'number' ? `${text}[${key}]` : text ? `${text}.${key}` : key), '');
}

/** Every problem of these sites, in document order; an empty list means that each of them parses and none contradicts another. */
export function validateSites(sites: readonly unknown[]): SiteProblem[] {
  const problems: SiteProblem[] = [];
  const macs = new Register();
  const objectNames = new Register();
  sites.forEach((site, index) => {
    const report = (path: DataPath, error: CodedError): void => void problems.push({ site: index, path, error });
    checkSchema(site, report);
    const fields = asObject(site);
    const siteName = asText(fields.name) ?? `site ${index}`;
    const place = (path: DataPath): string => `${siteName}: ${formatPath(path)}`;
    const networks = checkNetworks(asList(fields.networks), report, place);
    const addresses = new Register();
    const bmcs = new Register();
    const podNames = new Register();
    const nodeNames = new Register();
    asList(fields.pods).forEach((rawPod, podIndex) => {
      const pod = asObject(rawPod);
      const podPath: DataPath = ['pods', podIndex];
      const podName = asText(pod.name) ?? `pod ${podIndex}`;
      podNames.claim(podName, place(podPath), (other) =>
        report([...podPath, 'name'], siteErrors.SITE_DUPLICATE_NAME({ kind: 'pod', name: podName, other })),
      );
      checkVips(pod, podName, podPath, networks, addresses, report, place);
      asList(pod.managementNodes).forEach((rawNode, nodeIndex) => {
        const node = asText(asObject(rawNode).name);
        if (node === undefined) return;
        const path = [...podPath, 'managementNodes', nodeIndex, 'name'];
        nodeNames.claim(node, place(path), (other) =>
          report(path, siteErrors.SITE_DUPLICATE_NAME({ kind: 'management node', name: node, other })),
        );
        const parsed = parseNodeName(node);
        if (parsed?.pod !== podName || parsed.site !== siteName)
          report(path, siteErrors.SITE_NODE_NAME_MISMATCH({ node, pod: podName, site: siteName }));
      });
      asList(pod.machines).forEach((rawMachine, machineIndex) => {
        const machine = asObject(rawMachine);
        const path: DataPath = [...podPath, 'machines', machineIndex];
        const name = asText(machine.name);
        const namespace = asText(fields.namespace) ?? 'default';
        if (name !== undefined) {
          objectNames.claim(`${namespace}/${name}`, place(path), (other) =>
            report([...path, 'name'], siteErrors.SITE_DUPLICATE_NAME({ kind: 'machine', name, other })),
          );
        }
        checkMachine(machine, path, { networks, addresses, macs, bmcs }, report, place);
      });
    });
    checkEnsemble(asObject(fields.zookeeper), report);
  });
  return problems;
}

type Report = (path: DataPath, error: CodedError) => void;
type Place = (path: DataPath) => string;
type Networks = ReadonlyMap<number, string>;

/** First come, first served: later claims of the same value are told who holds it. */
class Register {
  private readonly holders = new Map<string, string>();

  claim(value: string, holder: string, onTaken: (other: string) => void): void {
    const other = this.holders.get(value);
    if (other === undefined) this.holders.set(value, holder);
    else onTaken(other);
  }
}

function checkNetworks(networks: readonly unknown[], report: Report, place: Place): Networks {
  const cidrs = new Map<number, string>();
  networks.forEach((raw, index) => {
    const { vlan, cidr, gateway } = asObject(raw);
    const path: DataPath = ['networks', index];
    if (typeof vlan !== 'number') return;
    if (cidrs.has(vlan)) {
      const first = networks.findIndex((network) => asObject(network).vlan === vlan);
      report([...path, 'vlan'], siteErrors.SITE_DUPLICATE_VLAN({ vlan, other: place(['networks', first]) }));
      return;
    }
    if (typeof cidr !== 'string') return;
    cidrs.set(vlan, cidr);
    if (typeof gateway === 'string' && isOutside(gateway, cidr)) {
      report([...path, 'gateway'], siteErrors.SITE_ADDRESS_OUTSIDE_NETWORK({ address: gateway, vlan, cidr }));
    }
  });
  return cidrs;
}

function checkVips(
  pod: Fields,
  podName: string,
  podPath: DataPath,
  networks: Networks,
  addresses: Register,
  report: Report,
  place: Place,
): void {
  const vips = asObject(pod.vips);
  for (const vlan of [MANAGEMENT_VLAN, PROVISIONING_VLAN]) {
    if (!(vlan in vips)) report([...podPath, 'vips'], siteErrors.SITE_VIP_MISSING({ vlan, pod: podName }));
  }
  for (const [key, vip] of Object.entries(vips)) {
    const path = [...podPath, 'vips', key];
    if (typeof vip !== 'string' || parseIpv4(vip) === undefined) continue;
    addresses.claim(vip, place(path), (other) => report(path, siteErrors.SITE_DUPLICATE_VIP({ vip, other })));
    const cidr = networks.get(Number(key));
    // without any network described there is nothing to hold an address against
    if (cidr === undefined) {
      if (networks.size > 0) report(path, siteErrors.SITE_VLAN_UNKNOWN({ vlan: Number(key), known: [...networks.keys()] }));
    } else if (isOutside(vip, cidr)) report(path, siteErrors.SITE_VIP_OUTSIDE_NETWORK({ vip, vlan: Number(key), cidr }));
  }
}

interface Registers {
  readonly networks: Networks;
  readonly addresses: Register;
  readonly macs: Register;
  readonly bmcs: Register;
}

function checkMachine(machine: Fields, path: DataPath, { networks, addresses, macs, bmcs }: Registers, report: Report, place: Place): void {
  asList(machine.interfaces).forEach((raw, index) => {
    const { mac: text, vlan } = asObject(raw);
    const macPath = [...path, 'interfaces', index, 'mac'];
    const mac = typeof text === 'string' ? normalizeMac(text) : undefined;
    if (mac !== undefined) macs.claim(mac, place(macPath), (other) => report(macPath, siteErrors.SITE_DUPLICATE_MAC({ mac, other })));
    if (typeof vlan === 'number' && networks.size > 0 && !networks.has(vlan)) {
      report([...path, 'interfaces', index, 'vlan'], siteErrors.SITE_VLAN_UNKNOWN({ vlan, known: [...networks.keys()] }));
    }
  });
  const { address: bmcAddress, port: bmcPort = ports.ipmi } = asObject(machine.bmc);
  if (typeof bmcAddress === 'string') {
    const bmc = `${bmcAddress}:${bmcPort}`;
    bmcs.claim(bmc, place([...path, 'bmc']), (other) => report([...path, 'bmc', 'address'], siteErrors.SITE_DUPLICATE_BMC({ bmc, other })));
  }
  const { address } = machine;
  if (typeof address !== 'string' || parseIpv4(address) === undefined) return;
  addresses.claim(address, place([...path, 'address']), (other) =>
    report([...path, 'address'], siteErrors.SITE_DUPLICATE_ADDRESS({ address, other })),
  );
  const cidr = networks.get(PROVISIONING_VLAN);
  if (cidr !== undefined && isOutside(address, cidr)) {
    report([...path, 'address'], siteErrors.SITE_ADDRESS_OUTSIDE_NETWORK({ address, vlan: PROVISIONING_VLAN, cidr }));
  }
}

function checkEnsemble(zookeeper: Fields, report: Report): void {
  if (zookeeper.form !== 'ensemble') return;
  const hosts = asList(zookeeper.hosts);
  const path: DataPath = ['zookeeper', 'hosts'];
  const members = new Set(hosts).size;
  if (members < hosts.length) {
    const name = String(hosts.find((host, index) => hosts.indexOf(host) < index));
    report(path, siteErrors.SITE_DUPLICATE_NAME({ kind: 'ensemble host', name, other: formatPath(path) }));
  }
  if (members < 3) report(path, siteErrors.SITE_QUORUM_IMPOSSIBLE({ members }));
  else if (members % 2 === 0) report(path, siteErrors.SITE_QUORUM_EVEN({ members }));
}

function isOutside(address: string, cidr: string): boolean {
  const value = parseIpv4(address);
  const subnet = parseSubnet(cidr);
  return value !== undefined && subnet !== undefined && !isHostOf(value, subnet);
}

const SECRET_FIELD = /pass(?:word|wd|phrase)?$|secret$|token$|^key$|private_?key$/i;
const URL_WITH_PASSWORD = /^[a-z][a-z0-9+.-]*:\/\/[^/@\s]*:[^/@\s]+@/i;
/** Fields that hold names as Kubernetes wants them: a wrong one gets the error that says so. */
const NAME_FIELD = /(?:^|\.)(?:name|namespace|secretName|pullSecret|storageClassName)$|\.hosts\[\d+\]$/;

function checkSchema(site: unknown, report: Report): void {
  reportSecrets(site, [], report);
  const parsed = siteSpecSchema.safeParse(site);
  if (parsed.success) return;
  for (const issue of parsed.error.issues) reportIssue(site, issue, report);
}

/** Secrets are looked for by name and by form anywhere, before anything prints a value. */
function reportSecrets(value: unknown, path: DataPath, report: Report): void {
  if (typeof value === 'string') {
    const key = path.findLast((part) => typeof part === 'string') ?? '';
    if ((SECRET_FIELD.test(String(key)) && key !== 'pullSecret') || URL_WITH_PASSWORD.test(value)) {
      report(path, siteErrors.SITE_SECRET_AS_VALUE({ field: formatPath(path) }));
    }
  } else if (Array.isArray(value)) {
    value.forEach((item, index) => {
      reportSecrets(item, [...path, index], report);
    });
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) reportSecrets(item, [...path, key], report);
  }
}

function reportIssue(site: unknown, issue: z.core.$ZodIssue, report: Report): void {
  const path = issue.path.filter((key) => typeof key !== 'symbol');
  const field = formatPath(path) || 'the site';
  const value = valueAt(site, path);
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(path);
    for (const key of issue.keys) {
      const inner = [...path, key];
      if (SECRET_FIELD.test(key) && typeof valueAt(site, inner) === 'string') continue; // told by reportSecrets
      const near = nearest(key, known);
      report(inner, siteErrors.SITE_FIELD_UNKNOWN({ field: formatPath(inner), known, ...(near !== undefined && { nearest: near }) }));
    }
    return;
  }
  if (value === undefined) {
    report(path, siteErrors.SITE_FIELD_MISSING({ field }));
    return;
  }
  const params = { field, value: JSON.stringify(value), rule: rule(issue, value) };
  report(path, NAME_FIELD.test(field) ? siteErrors.SITE_NAME_INVALID(params) : siteErrors.SITE_FIELD_INVALID(params));
}

function rule(issue: z.core.$ZodIssue, value: unknown): string {
  const suggestion = issue.path.at(-1) === 'cidr' && typeof value === 'string' ? suggestSubnet(value) : undefined;
  const text = /^(?:must|needs)/.test(issue.message) ? issue.message : `is refused (${issue.message})`;
  return suggestion === undefined || suggestion === value ? text : `${text}; did you mean ${suggestion}?`;
}

/** The keys that the schema knows at `path`, for the nearest one. */
function knownKeys(path: DataPath): string[] {
  let schema: unknown = siteSpecSchema;
  for (const key of path) schema = step(schema, key);
  const { shape } = asObject(unwrap(schema));
  return Object.keys(asObject(shape));
}

function step(schema: unknown, key: string | number): unknown {
  const inner = asObject(unwrap(schema));
  if (typeof key === 'number') return inner.element;
  return asObject(inner.shape)[key] ?? inner.valueType;
}

/** Through optional and default wrappers. */
function unwrap(schema: unknown): unknown {
  const { def } = asObject(schema);
  const { innerType } = asObject(def);
  return innerType === undefined ? schema : unwrap(innerType);
}

function valueAt(value: unknown, path: DataPath): unknown {
  return path.reduce<unknown>((inner, key) => (Array.isArray(inner) ? inner[Number(key)] : asObject(inner)[key]), value);
}

type Fields = Readonly<Record<string, unknown>>;

function asObject(value: unknown): Fields {
  return (typeof value === 'object' || typeof value === 'function') && value !== null ? (value as Fields) : {};
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function asText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
