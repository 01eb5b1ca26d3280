/** Before a machine is sent to the network: is there a loader that it can be given? */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { bootTree } from 'cdk8s-baremetal-runtime/machine/boot-tree';
import { enrol, isPermanent, MemorySecretStore } from 'cdk8s-baremetal-runtime/machine/index';
import { MemoryStore } from 'cdk8s-baremetal-runtime/store/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import { afterEach, beforeEach, expect, it } from 'vitest';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'boot-tree-'));
  for (const place of ['tftpboot', 'loaders']) mkdirSync(join(folder, place));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function activate(cpuArch: string): Promise<void> {
  const core = { store: new MemoryStore(), clock: new VirtualClock(), secrets: new MemorySecretStore(), random: seededRandom(1) };
  const properties = { cpus: 2, memoryMb: 4096, localGb: 80, cpuArch };
  const bmc = { driver: 'ipmi', address: '10.0.1.5', username: 'admin', password: new Secret('hunter2!') } as const;
  const node = await enrol(core, { name: 'bm-1', macs: ['52:54:00:12:34:56'], properties, bmc });
  const tree = bootTree({ bootRoot: join(folder, 'tftpboot'), loaderFolder: join(folder, 'loaders') });
  await tree.activate(node.value, new Secret('key'), new AbortController().signal);
}

it.each([
  { file: 'tftpboot/pxelinux.0', arch: 'x86_64' },
  { file: 'loaders/pxelinux.0', arch: 'x86_64' },
  { file: 'loaders/bootx64.efi', arch: 'x86_64' },
  { file: 'loaders/pxelinux.0', arch: 'i386' },
  { file: 'loaders/bootaa64.efi', arch: 'aarch64' },
])('002-4: with $file a machine of $arch is sent to the network', async ({ file, arch }) => {
  writeFileSync(join(folder, file), 'loader');
  await expect(activate(arch)).resolves.toBeUndefined();
});

it('002-4: without a loader of its architecture it is not, and is told which there could be', async () => {
  writeFileSync(join(folder, 'loaders/pxelinux.0'), 'loader');
  const refusal = await activate('aarch64').catch((error: unknown) => error);
  expect(String(refusal)).toContain(
    `aarch64 machines cannot be booted: bootaa64.efi is neither in ${join(folder, 'tftpboot')} nor in the image`,
  );
  expect(isPermanent(refusal)).toBe(true);
});
