/**
 * The images of OneCloud's services, one Dockerfile each, from the catalog: whatever a component runs below /opt/yunion/bin is in
 * its image. What a program needs beside itself is listed here, with the reason.
 */
import { type Component, catalog, onecloudPath } from 'cdk8s-baremetal-contract/onecloud/index';

export interface ServiceImage {
  /** glance: REGISTRY/glance:TAG. */
  readonly name: string;
  /** Components that run it, for people. */
  readonly components: readonly string[];
  /** File names in OneCloud's _output/bin. */
  readonly programs: readonly string[];
  /** Debian packages. */
  readonly packages: readonly string[];
  /** Files of the web pages instead of programs. */
  readonly pages?: true;
}

/** Debian's own release of OneCloud's programs: statically linked Go, which asks nothing of it but certificates and time zones. */
export const SERVICE_BASE = 'docker.io/library/debian:bookworm-slim';
export const WEB_BASE = 'docker.io/library/nginx:1.28-bookworm';
const EVERYWHERE = ['ca-certificates', 'tzdata'];

/** Images that others publish: nothing of ours is in them. */
export const THIRD_PARTY: readonly string[] = ['influxdb', 'openvswitch'];

const NEEDS: Readonly<Record<string, readonly string[]>> = {
  glance: ['qemu-utils'], // converts disk images
  'esxi-agent': ['qemu-utils'], // converts them to VMDK
  'host-image': ['qemu-utils'], // serves parts of them
  'baremetal-agent': ['ipmitool', 'iproute2', 'mount', 'openssh-client', 'qemu-utils', 'syslinux-common', 'pxelinux'], // boots and installs machines
  ansibleserver: ['ansible-core', 'git', 'openssh-client'], // runs playbooks
  webconsole: ['ipmitool', 'openssh-client', 'sshpass'], // opens terminals for people
  climc: ['bash-completion', 'less', 'vim-tiny'], // people work in it
  host: [
    'dmidecode',
    'ethtool',
    'iproute2',
    'iptables',
    'kmod',
    'lvm2',
    'mount',
    'openvswitch-switch',
    'pciutils',
    'qemu-utils',
    'util-linux',
  ],
  'host-deployer': ['dosfstools', 'e2fsprogs', 'fdisk', 'kmod', 'lvm2', 'mount', 'parted', 'qemu-utils', 'xfsprogs'],
  sdnagent: ['iproute2', 'iptables', 'openvswitch-switch'],
  'region-dns': [],
};

/** Every service image of the catalog once, by name. */
export function serviceImages(components: readonly Component[] = catalog): ServiceImage[] {
  const images = new Map<string, { components: string[]; programs: Set<string> }>();
  const add = (image: string, component: string, command: readonly string[] = []): void => {
    if (THIRD_PARTY.includes(image)) return;
    const known = images.get(image) ?? { components: [], programs: new Set() };
    images.set(image, known);
    if (!known.components.includes(component)) known.components.push(component);
    const [program = ''] = command;
    if (program.startsWith(`${onecloudPath.binaries}/`)) known.programs.add(program.slice(onecloudPath.binaries.length + 1));
  };
  for (const { name, image, command, companions = [] } of components) {
    add(image, name, command);
    for (const companion of companions) add(companion.image, name, companion.command);
  }
  return [...images]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { components: users, programs }]) => ({
      name,
      components: users,
      // the client's component starts a shell: people call the client by its name
      programs: [...(name === 'climc' ? ['climc'] : []), ...programs].sort(),
      packages: [...EVERYWHERE, ...(NEEDS[name] ?? [])].sort(),
      ...(name === 'web' && { pages: true as const }),
    }));
}

/** Its context is a folder with `bin/`, or `pages/` for the web. */
export function dockerfileOf({ name, components, programs, packages, pages }: ServiceImage): string {
  const head = `# syntax=docker/dockerfile:1\n# ${name}, for ${components.join(', ')}. Generated from the catalog by scripts/images.ts.\n`;
  if (pages) {
    return `${head}ARG BASE_IMAGE=${WEB_BASE}\nFROM \${BASE_IMAGE}\nCOPY pages/ /usr/share/nginx/html/\n`;
  }
  return `${head}ARG BASE_IMAGE=${SERVICE_BASE}
FROM \${BASE_IMAGE}
RUN apt-get update \\
 && apt-get install -y --no-install-recommends ${packages.join(' ')} \\
 && rm -rf /var/lib/apt/lists/*
COPY --chmod=755 ${programs.map((program) => `bin/${program}`).join(' ')} ${onecloudPath.binaries}/
ENV PATH=${onecloudPath.binaries}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
`;
}
