/** A site's pod moved onto loopback: the same names and MAC addresses, addresses of 127.0.0.0/8 and ports that need no root. */
import { App } from 'cdk8s';
import { Site } from 'cdk8s-baremetal';
import { type BmsCoreConfig, bmsCoreConfig, type MachineInput, type PodSpec, type SiteInput } from 'cdk8s-baremetal-contract';

/** The third octet is the pod's; /24 each. */
export interface LoopbackPlan {
  /** bms-core. */
  readonly server: string;
  /** The relay agent that stands for the machines' broadcast domain. */
  readonly relay: string;
  readonly subnet: string;
  readonly firstMachine: string;
  readonly lastMachine: string;
  /** Address of the n-th BMC, from 0. */
  bmc(index: number): string;
  readonly ports: {
    readonly api: number;
    readonly dhcp: number;
    readonly tftp: number;
    readonly httpBoot: number;
    readonly deployHelper: number;
    readonly ipmi: number;
  };
}

/** Most machines that one /24 has room for beside the server and the relay. */
export const MOST_MACHINES = 200;

export function loopbackPlan(podNumber: number, portBase = 0): LoopbackPlan {
  const machines = `127.0.${podNumber % 128}`;
  const management = `127.1.${podNumber % 128}`;
  return {
    server: `${machines}.1`,
    relay: `${machines}.254`,
    subnet: `${machines}.0/24`,
    firstMachine: `${machines}.10`,
    lastMachine: `${machines}.250`,
    bmc: (index) => `${management}.${index + 10}`,
    ports: {
      api: portBase + 7081,
      dhcp: portBase + 10067,
      tftp: portBase + 10069,
      httpBoot: portBase + 7082,
      deployHelper: portBase + 10000,
      ipmi: portBase + 10623,
    },
  };
}

/** The site with as many machines in its first pod as asked for: its own first, then more of the same kind. */
export function withMachines(site: SiteInput, count: number): SiteInput {
  const [pod, ...others] = site.pods ?? [];
  const [first, ...rest] = pod?.machines ?? [];
  if (!pod || !first) throw new Error(`the site ${site.name} has no machine to start from`);
  const machines = Array.from({ length: count }, (_, index): MachineInput => {
    const own = [first, ...rest][index];
    if (own) return own;
    const { address: _address, ...like } = first;
    const number = index + 1;
    return {
      ...like,
      name: `${pod.name}-bm-${String(number).padStart(2, '0')}`,
      interfaces: [{ mac: `52:54:00:45:${hex(number >> 8)}:${hex(number)}` }],
      bmc: { ...like.bmc, address: `10.128.193.${number}` },
    };
  });
  return { ...site, pods: [{ ...pod, machines }, ...others] };
}

/** What `cdk8s synth` makes of the site, and the text of the pod's configuration in it. */
export function synthesize(site: SiteInput): { objects: number; configText: string; pod: PodSpec } {
  const construct = Site.fromInput(new App(), site);
  const manifests = construct.toJson() as { kind: string; data?: Record<string, string> }[];
  const configText = manifests.find(({ kind }) => kind === 'ConfigMap')?.data?.config;
  const [pod] = construct.spec.pods;
  if (configText === undefined || !pod) throw new Error(`the site ${site.name} has no pod`);
  return { objects: manifests.length, configText, pod };
}

/** The synthesized configuration, with what only a laptop needs overridden by environment variables, as a daemon would be. */
export function loopbackConfig(configText: string, plan: LoopbackPlan, folder: string): BmsCoreConfig {
  const { ports } = plan;
  const settings: Record<string, Record<string, string | number>> = {
    DEFAULT: { server_port: ports.api, pidfile: `${folder}/bms-core.pid` },
    pxe: {
      tftpboot_dir: `${folder}/tftpboot`,
      pxelinux_dir: `${folder}/tftpboot/pxelinux`,
      deploy_image_dir: `${folder}/tftpboot/deploy_image_template`,
      user_image_dir: `${folder}/tftpboot/user_images`,
    },
    sw_coordination: { backend_url: 'memory://' },
    api: { address: '127.0.0.1' },
    dhcp: {
      mode: 'server',
      port: ports.dhcp,
      server_ip: plan.server,
      subnet: plan.subnet,
      range_start: plan.firstMachine,
      range_end: plan.lastMachine,
    },
    tftp: { address: plan.server, port: ports.tftp, root: `${folder}/tftpboot` },
    http_boot: { address: plan.server, port: ports.httpBoot },
    deploy_helper: { address: plan.server, port: ports.deployHelper },
    store: { url: `sqlite:///${folder}/bms.db` },
    image_cache: { dir: `${folder}/images` },
  };
  const env = Object.fromEntries(
    Object.entries(settings).flatMap(([section, values]) =>
      Object.entries(values).map(([key, value]) => [
        bmsCoreConfig.envName(section as keyof typeof bmsCoreConfig.sections, key),
        String(value),
      ]),
    ),
  );
  const config = bmsCoreConfig.parse(configText, { env });
  return {
    ...config,
    // nobody listens to notifications here, and the site's own address must not be called from a laptop
    center: { ...config.center, scheduler_callback: undefined },
    // on loopback, without tokens, whoever is on this machine may act; the cluster's Secrets are not here
    api: { ...config.api, tokens_file: undefined, tls_cert: undefined, tls_key: undefined },
  };
}

function hex(value: number): string {
  return (value & 0xff).toString(16).padStart(2, '0');
}
