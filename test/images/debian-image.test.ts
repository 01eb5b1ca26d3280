/**
 * The Debian image under real firmware, from its own disk: what its config drive says must have landed. `npm run test:image` builds the image and runs
 * this; it needs root and QEMU, and some minutes under emulation.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { instanceNetwork, openstackConfigDrive, resolveNetwork } from 'cdk8s-baremetal-contract/instance-network/index';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { buildManifest, openImage } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { appendPartition, encodeIso9660, type ReadableSink, writePartitionImage } from 'cdk8s-baremetal-runtime/deploy/layout/index';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { LabNetwork, missingForNamespaces } from '../../lab/support/namespace.ts';
import { Guest, missingForGuests } from '../../lab/support/qemu.ts';

const IMAGE = process.env.BMS_IMAGE ?? 'lib/image/amd64-debian';
const LIMIT_MS = 900_000;
const MIB = 1024 * 1024;
const DISK_BYTES = 3 * 1024 * MIB;
const MAC = '52:54:00:77:00:09';
const ADDRESS = '10.77.0.50';
const UUID = '5f4c1c1e-6f0e-4c3e-9d1c-2b1f6f1d8a10';

const missing =
  process.env.BMS_LAB !== '1'
    ? 'it is not asked for (npm run test:image)'
    : existsSync(join(IMAGE, 'disk.raw'))
      ? (missingForNamespaces([
          { name: 'qemu-system-x86_64', debian: 'qemu-system-x86' },
          { name: 'ssh', debian: 'openssh-client' },
          { name: 'ssh-keygen', debian: 'openssh-client' },
        ]) ??
        missingForGuests({ kind: 'bios' }) ??
        missingForGuests({ kind: 'uefi' }))
      : `${IMAGE} is not built (npm run build:image)`;
if (missing !== undefined) console.warn(`skipped, the Debian image under real firmware: ${missing}`);

describe.skipIf(missing !== undefined)('002-7, 002-16: the Debian image', () => {
  let folder: string;
  let network: LabNetwork | undefined;
  let guest: Guest | undefined;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bms-debian-image-'));
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'key')]);
    return () => rmSync(folder, { recursive: true });
  });
  afterEach(async () => {
    await guest?.stop();
    await network?.close();
    [guest, network] = [undefined, undefined];
  });

  it.each([
    ['BIOS, from the whole disk', 'bios', 'whole-disk'],
    ['UEFI, from the whole disk', 'uefi', 'whole-disk'],
    ['its kernel and ramdisk, as a loader hands them over, from a partition', 'bios', 'partition'],
  ] as const)(
    'starts by %s with the name, the static network and the key of its config drive',
    async (_, firmware, layout) => {
      const hostname = `debian-${firmware}-${layout}`;
      const disk = join(folder, `${hostname}.raw`);
      const kernel = await written(disk, layout, hostname);
      network = await LabNetwork.create('10.77.0.1/24');
      const signal = AbortSignal.timeout(LIMIT_MS);
      guest = await Guest.start({
        network,
        mac: MAC,
        firmware: { kind: firmware, pxe: false },
        folder,
        memoryMib: 1024,
        disks: [disk],
        boot: 'c',
        more: kernel,
        ...(process.env.LAB_LOG && { onLine: (line: string) => console.error(line) }),
      });
      const up = await guest.until(/BMS-MARKER (\S+) is up/, signal);
      expect([up?.[1], guest.console.slice(-3000)]).toEqual([hostname, expect.any(String)]);
      expect(await seenBySsh(network, join(folder, 'key'))).toEqual({
        hostname,
        // no other than the one that the instance was given
        addresses: [`${ADDRESS}/24`],
        route: `default via 10.77.0.1`,
        nameserver: '10.77.0.1',
        firmware,
        user: 'root',
        'cloud-init': 'done',
        // whole disk: grown up to the config drive; partition: as large as the layout made it, less the tables of ext4
        'root is large': 'yes',
      });
    },
    LIMIT_MS,
  );

  /** As a deployment leaves the disk; what QEMU is told of a kernel that comes from elsewhere. */
  async function written(path: string, layout: 'whole-disk' | 'partition', hostname: string): Promise<string[]> {
    const iso = encodeIso9660(configDrive(hostname, readFileSync(join(folder, 'key.pub'), 'utf8').trim()));
    if (layout === 'whole-disk') {
      copyFileSync(join(IMAGE, 'disk.raw'), path, constants.COPYFILE_FICLONE);
      truncateSync(path, DISK_BYTES);
      const disk = fileDisk(path);
      await appendPartition(disk, iso, { name: 'config-2', random: nodeRandom });
      disk.close();
      return [];
    }
    writeFileSync(path, '');
    truncateSync(path, DISK_BYTES);
    const disk = fileDisk(path);
    const image = await openImage({ path: join(IMAGE, 'root.raw') });
    const partitions = { rootMb: 2048, swapMb: 64, ephemeralMb: 0 };
    const manifest = await buildManifest(image);
    const { root } = await writePartitionImage(image, disk, { manifest, partitions, configDrive: iso, random: nodeRandom });
    await image.close();
    disk.close();
    const words = `root=UUID=${root.uuid} ro console=ttyS0`;
    return ['-kernel', join(IMAGE, 'kernel'), '-initrd', join(IMAGE, 'ramdisk'), '-append', words];
  }
});

function configDrive(name: string, key: string) {
  const interfaces = [{ on: 0, ipv4: { address: `${ADDRESS}/24`, gateway: '10.77.0.1' }, dns: ['10.77.0.1'] }];
  const resolved = resolveNetwork(instanceNetwork.parse({ interfaces }), [MAC]);
  if (typeof resolved === 'string') throw new Error(resolved);
  return openstackConfigDrive({ instance: { uuid: UUID, name }, network: resolved, authorizedKeys: [key] });
}

/** What a person sees who logs in with the key. */
async function seenBySsh(network: LabNetwork, key: string): Promise<Record<string, unknown>> {
  const script = [
    'echo hostname=$(hostname)',
    'echo addresses=$(ip -4 -o address show scope global | tr -s " " | cut -d " " -f 4)',
    'echo route=$(ip route show default | cut -d " " -f 1-3)',
    'echo nameserver=$(resolvectl dns 2> /dev/null | grep -o "10\\.77[0-9.]*" | sort -u || grep -o "10\\.77[0-9.]*" /etc/resolv.conf)',
    'echo firmware=$([ -d /sys/firmware/efi ] && echo uefi || echo bios)',
    'echo user=$(sudo -n id -un)',
    // it waits until the first boot is over
    "echo cloud-init=$(cloud-init status --wait | sed -n 's/^status: //p')",
    'echo root is large=$([ $(df --output=size -m / | tail -n 1) -gt 1800 ] && echo yes || df --output=size -m / | tail -n 1)',
  ].join('\n');
  const options = ['BatchMode=yes', 'StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'ConnectTimeout=60', 'LogLevel=ERROR'];
  const { code, output } = await network.namespace.exec([
    'ssh',
    '-i',
    key,
    ...options.flatMap((one) => ['-o', one]),
    `debian@${ADDRESS}`,
    script,
  ]);
  if (code !== 0) throw new Error(`ssh ends with ${code}: ${output}`);
  const found = output.split('\n').flatMap((line) => {
    const at = line.indexOf('=');
    return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const];
  });
  return Object.fromEntries(found.map(([name, value]) => (name === 'addresses' ? [name, value.split(' ')] : [name, value])));
}

function fileDisk(path: string): ReadableSink & { close(): void } {
  const fd = openSync(path, 'r+');
  const zeros = new Uint8Array(MIB);
  return {
    blockBytes: 512,
    sizeBytes: DISK_BYTES,
    read: async (offset, length) => {
      const bytes = new Uint8Array(length);
      readSync(fd, bytes, 0, length, offset);
      return bytes;
    },
    write: async (offset, data) => void writeSync(fd, data, 0, data.length, offset),
    zero: async (offset, length) => {
      // beyond what was written the file is a hole, which reads as zeros
      const known = Buffer.alloc(MIB);
      for (let at = 0; at < length; at += MIB) {
        const part = Math.min(MIB, length - at);
        readSync(fd, known, 0, part, offset + at);
        if (!known.subarray(0, part).every((byte) => byte === 0)) writeSync(fd, zeros, 0, part, offset + at);
      }
    },
    flush: async () => undefined,
    close: () => closeSync(fd),
  };
}
