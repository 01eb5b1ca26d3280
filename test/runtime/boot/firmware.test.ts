/** Real boot firmware, QEMU's iPXE ROM under a BIOS, against our DHCP, TFTP and HTTP on their real ports. No guest system is started: the firmware is the test. */

import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { BootIntent } from '../../../src/runtime/boot/machine.ts';
import { missingForNamespaces, NamespacePair } from '../../support/netns.ts';
import { describeWith, serve, startDnsmasq } from './dhcp/fixtures/boot-server.ts';
import type { Fixture } from './dhcp/fixtures/serve.ts';
import { MAC, machine, SITE } from './dhcp/world.ts';

const QEMU = { name: 'qemu-system-x86_64', debian: 'qemu-system-x86 with ipxe-qemu and seabios' };
const DNSMASQ = { name: 'dnsmasq', debian: 'dnsmasq-base' };
const SERVER = '192.168.50.20';
const DEPLOY: BootIntent = {
  kind: 'deploy',
  kernel: 'images/vmlinuz',
  ramdisk: 'images/initrd',
  iscsiTargetIqn: 'iqn-x',
  deploymentId: '7',
  deploymentKey: 'Q8ZK2LMXV0R7T4D1N6B3C5H9J2P8W4YA',
};
const { uuid } = machine();
const FIXTURE: Fixture = {
  settings: SITE,
  machines: [machine({ boot: DEPLOY })],
  // not a kernel: iPXE loads it whole and then refuses to start it
  files: { 'images/vmlinuz': 'k'.repeat(100_000), 'images/initrd': 'i' },
};
const CONFIG = '52-54-00-12-34-56.ipxe';

/** Each boot takes about 20 s under software emulation: one of them runs always, all of them by `npm run test:firmware`. */
const SHORT = process.env.BMS_FIRMWARE !== '1';
if (SHORT) console.warn('SKIPPED: iPXE by TFTP, by HTTP and beside dnsmasq: npm run test:firmware runs them');

let pair: NamespacePair;
let folder: string;
const runnable = missingForNamespaces([QEMU]) === undefined;

beforeEach(async () => {
  if (!runnable) return;
  folder = await mkdtemp(join(tmpdir(), 'firmware-'));
  pair = await NamespacePair.create({ left: { address: `${SERVER}/24` } });
  // the guest's network card, on the cable
  await pair.right.ip('link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0'); // by default it holds frames back for 15 s
  await pair.right.ip('tuntap', 'add', 'tap0', 'mode', 'tap');
  for (const port of ['eth0', 'tap0']) await pair.right.ip('link', 'set', port, 'master', 'br0', 'up');
  await pair.right.ip('link', 'set', 'br0', 'up');
});
afterEach(async () => {
  if (!runnable) return;
  await pair.close();
  await rm(folder, { recursive: true });
});

function powerOn(): void {
  pair.right.spawn([
    ...['qemu-system-x86_64', '-accel', 'tcg', '-m', '64', '-nodefaults', '-nographic', '-boot', 'n'],
    ...['-netdev', 'tap,id=lan,ifname=tap0,script=no,downscript=no', '-device', `virtio-net-pci,netdev=lan,mac=${MAC}`],
  ]);
}

describeWith([QEMU], 'iPXE', () => {
  const protocols = [
    { protocol: 'tftp', http: false },
    { protocol: 'http', http: true },
  ];
  it.skipIf(SHORT).each(protocols)(
    '002-4, 002-5, N13: gets address, script with its key, and kernel over $protocol',
    { timeout: 60_000 },
    async ({ protocol, http }) => {
      const server = await serve(pair.left, { ...FIXTURE, http });
      powerOn();
      const { exchange } = await server.until((event) => event.exchange?.answer === 'ack');
      expect(exchange).toMatchObject({ mac: MAC, arch: 0 });
      const config = await server.until(({ file }) => file?.answer === 'config');
      expect(config.file).toMatchObject({ protocol, machine: '7', address: exchange?.address });
      expect(config.file?.path.replace(/^\//, '')).toBe(CONFIG);
      const kernel = await server.until(({ file }) => file?.answer === 'file');
      expect(kernel.file).toMatchObject({ protocol, address: exchange?.address });
      expect(kernel.file?.path.replace(/^\//, '')).toBe(`${uuid}/deploy_kernel`);
    },
  );
});

/** Where Debian keeps them. */
const SYSLINUX = { 'pxelinux.0': '/usr/lib/PXELINUX/pxelinux.0', 'ldlinux.c32': '/usr/lib/syslinux/modules/bios/ldlinux.c32' };
const noSyslinux = Object.values(SYSLINUX).some((file) => !existsSync(file));
if (noSyslinux) console.warn('SKIPPED: pxelinux: pxelinux.0 or ldlinux.c32 is missing (Debian packages pxelinux and syslinux-common)');

describeWith([QEMU], 'pxelinux', () => {
  it.skipIf(noSyslinux)(
    '002-4: is loaded, and finds its configuration and the deploy kernel in the tree',
    { timeout: 60_000 },
    async () => {
      await mkdir(join(folder, 'images'));
      for (const [name, file] of Object.entries(SYSLINUX)) await copyFile(file, join(folder, name));
      await writeFile(join(folder, 'images/vmlinuz'), 'k'.repeat(100_000));
      const server = await serve(pair.left, { settings: SITE, machines: FIXTURE.machines, root: folder, ipxe: 'loader' });
      powerOn();
      await server.until(({ file }) => file?.answer === 'file' && file.path === 'pxelinux.0');
      const config = await server.until(({ file }) => file?.answer === 'config');
      expect(config.file).toMatchObject({ protocol: 'tftp', path: 'pxelinux.cfg/01-52-54-00-12-34-56', machine: '7' });
      await server.until(({ file }) => file?.answer === 'file' && file.path === `${uuid}/deploy_kernel`);
    },
  );
});

describeWith([QEMU, DNSMASQ], 'iPXE between dnsmasq and our proxy', () => {
  it.skipIf(SHORT)('002-14: has its address from the one and its boot file from the other', { timeout: 60_000 }, async () => {
    await startDnsmasq(pair.left, join(folder, 'leases'));
    const server = await serve(pair.left, { ...FIXTURE, settings: { ...SITE, mode: 'proxy' } });
    powerOn();
    const config = await server.until(({ file }) => file?.answer === 'config');
    expect(config.file?.address).toMatch(/^192\.168\.50\.2(0\d|10)$/);
    expect(config.file?.reasons.join('; ')).toContain(`holds the lease of ${MAC}`);
    await server.until(({ file }) => file?.answer === 'file' && file.path.endsWith('deploy_kernel'));
  });
});
