/**
 * `npm run lab:pxe [CASE …]`: real firmware under QEMU boots from our DHCP, TFTP and HTTP, each to a kernel whose first program prints a marker. Everything
 * happens in a network namespace of its own, which needs root; the exit code is 1 when a marker is missing, 2 when the lab cannot run here.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BootMachine } from 'cdk8s-baremetal-runtime/boot/index';
import { type BootEvent, type BootPlaneInput, startBootPlane } from './support/boot-plane.ts';
import { cloudKernel, unpacked } from './support/cache.ts';
import { busyboxInitramfs } from './support/initramfs.ts';
import { LabNetwork, missingForNamespaces } from './support/namespace.ts';
import { type Firmware, Guest, missingForGuests } from './support/qemu.ts';

interface Case {
  readonly name: string;
  readonly title: string;
  readonly firmware: Firmware;
  readonly boot: BootPlaneInput['boot'];
  /** What must have been loaded on the way, besides the marker. */
  readonly through: readonly { readonly protocol: 'tftp' | 'http'; readonly path: RegExp }[];
}

const cases: readonly Case[] = [
  {
    name: 'pxelinux',
    title: 'SeaBIOS + iPXE ROM → pxelinux over TFTP',
    firmware: { kind: 'bios' },
    boot: { ipxe: 'loader' },
    through: [
      { protocol: 'tftp', path: /^pxelinux\.0$/ },
      { protocol: 'tftp', path: /pxelinux\.cfg\/01-/ },
      { protocol: 'tftp', path: /\/kernel$/ },
    ],
  },
  {
    name: 'ipxe',
    title: 'SeaBIOS + iPXE ROM → script and kernel over HTTP',
    firmware: { kind: 'bios' },
    boot: { http: true },
    through: [
      { protocol: 'http', path: /\.ipxe$/ },
      { protocol: 'http', path: /\/kernel$/ },
    ],
  },
  {
    name: 'grub',
    title: "OVMF's own PXE → GRUB over TFTP",
    firmware: { kind: 'uefi' },
    boot: {},
    through: [
      { protocol: 'tftp', path: /bootx64\.efi$/ },
      { protocol: 'tftp', path: /grub\.cfg-01-/ },
      { protocol: 'tftp', path: /\/kernel$/ },
    ],
  },
  {
    name: 'uefi-http',
    title: "OVMF's own HTTP boot → GRUB over HTTP",
    firmware: { kind: 'uefi', pxe: false },
    boot: { http: true },
    through: [
      { protocol: 'http', path: /bootx64\.efi$/ },
      { protocol: 'http', path: /grub\.cfg$/ }, // GRUB looks for its address only over TFTP; we know who holds the address
      { protocol: 'http', path: /\/kernel$/ },
    ],
  },
];

const SERVER = '192.168.50.20';
const LIMIT_MS = 120_000;
const MARKER = 'BMS-LAB-MARKER';

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !cases.some((one) => one.name === name));
if (unknown.length > 0) {
  console.error(`no such case: ${unknown.join(', ')}; there are ${cases.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
const chosen = cases.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const missing =
  missingForNamespaces([
    { name: 'qemu-system-x86_64', debian: 'qemu-system-x86' },
    { name: 'grub-mkimage', debian: 'grub-common' },
  ]) ?? chosen.map(({ firmware }) => missingForGuests(firmware)).find((one) => one !== undefined);
if (missing !== undefined) {
  console.error(`the lab cannot run here: ${missing}`);
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), 'bms-lab-pxe-'));
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
let failed = 0;
try {
  const root = bootRoot();
  for (const [index, one] of chosen.entries()) {
    if (stop.signal.aborted) break;
    console.log(`\n${one.name}: ${one.title}`);
    const problems = await boot(one, root, index);
    failed += problems.length > 0 ? 1 : 0;
    for (const problem of problems) console.log(`  FAILED: ${problem}`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
if (stop.signal.aborted) process.exit(130);
console.log(failed === 0 ? `\n${chosen.length} of ${chosen.length} booted` : `\n${failed} of ${chosen.length} did not boot`);
process.exit(failed === 0 ? 0 : 1);

/** Loaders as the image has them, a kernel of Debian's, and a ramdisk that only speaks. */
function bootRoot(): string {
  const root = join(folder, 'tftpboot');
  mkdirSync(join(root, 'images'), { recursive: true });
  const loaders = new URL('../images/bms-core/loaders', import.meta.url).pathname;
  execFileSync(loaders, [root, 'bios', 'efi-x64'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const kernel = cloudKernel();
  console.log(`kernel ${kernel.version}`);
  copyFileSync(kernel.image, join(root, 'images/vmlinuz'));
  const busybox = readFileSync(join(unpacked('busybox-static'), 'bin/busybox'));
  // words of the kernel's command line that it does not know are its first program's environment
  const init = ['#!/bin/sh', `echo "${MARKER} $lab_case."`, '/bin/busybox poweroff -f', ''].join('\n');
  writeFileSync(join(root, 'images/initrd'), busyboxInitramfs(busybox, init));
  return root;
}

/** What went wrong; nothing when the machine came up as it should. */
async function boot(one: Case, root: string, index: number): Promise<readonly string[]> {
  const startedAt = performance.now();
  const tell = (what: string): void => console.log(`  ${((performance.now() - startedAt) / 1000).toFixed(1).padStart(6)} s  ${what}`);
  const mac = `52:54:00:1a:b0:0${index}`;
  const machine: BootMachine = {
    id: one.name,
    uuid: `8d0f5a5e-6c1b-4a55-9d53-0d1c3b1f9a1${index}`,
    interfaces: [{ mac }],
    boot: {
      kind: 'network',
      kernel: 'images/vmlinuz',
      ramdisk: 'images/initrd',
      root: '/dev/ram0',
      append: `console=ttyS0 quiet panic=-1 lab_case=${one.name}`,
    },
  };
  const loaded: { protocol: string; path: string }[] = [];
  const onEvent = ({ dhcp, file, transfer }: BootEvent): void => {
    if (dhcp?.mac === mac)
      tell(
        `DHCP ${dhcp.type ?? '?'} → ${dhcp.answer}${dhcp.address ? ` ${dhcp.address}` : ''}${dhcp.arch === undefined ? '' : ` (architecture ${dhcp.arch})`}`,
      );
    if (file && (file.answer === 'file' || file.answer === 'config')) {
      loaded.push({ protocol: file.protocol, path: file.path });
      tell(`${file.protocol.toUpperCase()} ${file.path}`);
    }
    if (transfer && transfer.bytes > 0)
      tell(`  ${transfer.file}: ${transfer.outcome}, ${transfer.bytes} bytes in ${(transfer.durationMs / 1000).toFixed(1)} s`);
  };

  const network = await LabNetwork.create(`${SERVER}/24`);
  let guest: Guest | undefined;
  try {
    const plane = await startBootPlane(
      network,
      {
        dhcp: {
          mode: 'server',
          interfaces: [{ name: 'br0', address: SERVER }],
          subnets: [{ cidr: '192.168.50.0/24', pools: [{ first: '192.168.50.100', last: '192.168.50.150' }], gateway: '192.168.50.254' }],
        },
        boot: one.boot,
        machines: [machine],
        root,
      },
      onEvent,
    );
    tell('power on');
    guest = await Guest.start({ network, mac, firmware: one.firmware, folder });
    const seen = await guest.until(new RegExp(`${MARKER} ([a-z-]+)\\.`), AbortSignal.any([stop.signal, AbortSignal.timeout(LIMIT_MS)]));
    if (seen) tell(`marker: ${seen[1]}`);
    await plane.stop();
    const problems = one.through
      .filter(({ protocol, path }) => !loaded.some((file) => file.protocol === protocol && path.test(file.path)))
      .map(({ protocol, path }) => `nothing like ${path.source} was loaded over ${protocol.toUpperCase()}`);
    if (seen?.[1] === one.name) return problems;
    const last = guest.console.trim().split(/\r?\n/).slice(-12).join('\n    ');
    return [...problems, `no marker of ${one.name} within ${LIMIT_MS / 1000} s; the console ends with\n    ${last}`];
  } finally {
    await guest?.stop();
    await network.close();
  }
}
