/**
 * Everything that can be wrong with the sites of one app, found in one pass and told with its place. Works on what people
 * wrote, not on what parsed: a malformed field hides no duplicate.
 */
import { isHostOf, parseIpv4, parseSubnet, unicastMac } from './addresses.ts';
import { type DataPath, formatPath } from './data-path.ts';
import type { CodedError } from './errors.ts';
import { asList, asObject, asText, type Fields } from './loose.ts';
import { MANAGEMENT_VLAN, PROVISIONING_VLAN, parseNodeName } from './names.ts';
import { podConfigProblems } from './pod-config.ts';
import { port as ports } from './ports.ts';
import { checkSchema, type Report } from './schema-problems.ts';
import { siteErrors } from './site-errors.ts';
import { podSchema, zookeeperSchema } from './site-spec.ts';

export interface SiteProblem {
  /** Index into the sites given to `validateSites`. */
  readonly site: number;
  readonly path: DataPath;
  readonly error: CodedError;
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
    const place = (path: DataPath) => (): string => `${siteName}: ${formatPath(path)}`;
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
      checkConfig(pod, fields, podPath, report);
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
    checkForm(fields, report);
    checkStore(fields, report);
    checkCoordination(fields, report);
    checkEnsemble(asObject(fields.zookeeper), report);
  });
  return problems;
}

/** How a place is called, worked out only when somebody is told of it. */
type Place = (path: DataPath) => () => string;
type Networks = ReadonlyMap<number, string>;

/** First come, first served: later claims of the same value are told who holds it. */
class Register {
  private readonly holders = new Map<string, () => string>();

  claim(value: string, holder: () => string, onTaken: (other: string) => void): void {
    const other = this.holders.get(value);
    if (other === undefined) this.holders.set(value, holder);
    else onTaken(other());
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
      report([...path, 'vlan'], siteErrors.SITE_DUPLICATE_VLAN({ vlan, other: place(['networks', first])() }));
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

/** A pod that is well-formed, its machines aside, is held against the options of bms-core. */
function checkConfig(rawPod: Fields, site: Fields, podPath: DataPath, report: Report): void {
  const pod = podSchema.safeParse({ ...rawPod, machines: [] });
  if (!pod.success) return;
  const zookeeper = zookeeperSchema.safeParse(site.zookeeper);
  const context = { namespace: asText(site.namespace) ?? 'default', ...(zookeeper.success && { zookeeper: zookeeper.data }) };
  for (const error of podConfigProblems(context, pod.data)) {
    const [, section, key] = /\[([^\]]+)\](?: (\w+))?/.exec(error.message) ?? [];
    const place = [section, key].filter((part) => part !== undefined);
    report([...podPath, 'config', ...place], error);
  }
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
    const mac = typeof text === 'string' ? unicastMac(text) : undefined;
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

/** What a form of the DaemonSet cannot be; the original's is one for all pods, with one set of probes. */
function checkForm({ bmsCore, pods }: Fields, report: Report): void {
  const { form = 'per-pod', tftpboot } = asObject(bmsCore);
  const lacking = form === 'seed' ? 'persistent-volume' : 'mount';
  if (tftpboot === lacking) report(['bmsCore', 'tftpboot'], siteErrors.SITE_TFTPBOOT_FORM({ tftpboot: lacking, form: asText(form) ?? '' }));
  if (form !== 'seed') return;
  const all = asList(pods).map((raw, index) => ({
    name: asText(asObject(raw).name) ?? `pod ${index}`,
    place: apiPlace(asObject(raw).config),
  }));
  const [first] = all;
  for (const [index, { name, place }] of all.entries())
    if (first && place !== first.place) report(['pods', index, 'config'], siteErrors.SITE_API_FORM({ pod: name, first: first.name }));
}

/** Where the kubelet has to ask. */
function apiPlace(config: unknown): string {
  const { DEFAULT, api } = asObject(config);
  const { enabled = true, address = '0.0.0.0', tls_cert: certificate } = asObject(api);
  return JSON.stringify([asObject(DEFAULT).server_port ?? ports.api, enabled, address, certificate !== undefined]);
}

/** A store that both management nodes share needs its key, and a form that knows which pod it is of. */
function checkStore({ bmsCore, namespace, pods }: Fields, report: Report): void {
  const { store: wanted = 'sqlite', secretsKey, form } = asObject(bmsCore);
  if (wanted === 'sqlite') return;
  const store = asText(wanted) ?? 'mysql';
  if (form === 'seed') report(['bmsCore', 'store'], siteErrors.SITE_STORE_FORM({ store }));
  if (secretsKey === undefined)
    report(['bmsCore', 'secretsKey'], siteErrors.SITE_SECRETS_KEY_MISSING({ store, namespace: asText(namespace) ?? 'default' }));
  asList(pods).forEach((pod, index) => {
    const { name, config } = asObject(pod);
    const overrides = Object.keys(asObject(asObject(config).store));
    if (overrides.length > 0) {
      const path = ['pods', index, 'config', 'store'];
      report(path, siteErrors.SITE_STORE_TWICE({ pod: asText(name) ?? `pod ${index}`, store }));
    }
  });
}

/** Replicas that share records must know of each other, all by the same service. */
function checkCoordination({ bmsCore, zookeeper, pods }: Fields, report: Report): void {
  const { store = 'sqlite', coordination: named } = asObject(bmsCore);
  if (store === 'sqlite') {
    if (named === 'kubernetes') report(['bmsCore', 'coordination'], siteErrors.SITE_COORDINATION_STORE({}));
    return;
  }
  const coordination = named ?? (store === 'kubernetes' && zookeeper === undefined ? 'kubernetes' : 'zookeeper');
  asList(pods).forEach((raw, index) => {
    const { name, config, managementNodes } = asObject(raw);
    const url = asText(asObject(asObject(config).sw_coordination).backend_url);
    if (url === undefined) return;
    const path = ['pods', index, 'config', 'sw_coordination', 'backend_url'];
    const pod = asText(name) ?? `pod ${index}`;
    const nodes = asList(managementNodes).length;
    if (url.startsWith('memory:')) {
      if (nodes > 1) report(path, siteErrors.SITE_COORDINATION_ALONE({ pod, nodes }));
    } else if (url.startsWith('kubernetes:') || coordination === 'kubernetes')
      report(path, siteErrors.SITE_COORDINATION_TWICE({ pod, url, coordination: asText(coordination) ?? '' }));
  });
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
