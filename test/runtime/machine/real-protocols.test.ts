/** Inspection, cleaning, rescue and rebuild over real DHCP, TFTP, HTTP, IPMI and iSCSI, on a virtual clock. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeMbr } from 'cdk8s-baremetal-runtime/deploy/layout/index';
import { ask, flavorKind, imageKind, spawn } from 'cdk8s-baremetal-runtime/machine/index';
import { afterEach, describe, expect, it } from 'vitest';
import { type VirtualMachine, VirtualSite, type VirtualSiteOptions } from '../../simulator/slice/virtual-site.ts';

const MIB = 1024 * 1024;
let folder: string;
let site: VirtualSite | undefined;

async function newSite(options: Partial<VirtualSiteOptions> = {}): Promise<{ site: VirtualSite; machine: VirtualMachine }> {
  folder = mkdtempSync(join(tmpdir(), 'machine-'));
  site = await VirtualSite.create({ folder, ...options });
  const [machine] = site.machines;
  if (machine === undefined) throw new Error('no machine');
  return { site, machine };
}
afterEach(async () => {
  await site?.close();
  rmSync(folder, { recursive: true });
});

/** The superblock of an ext4 file system, and noise. */
function extImage(uuid: string): Buffer {
  const content = Buffer.alloc(2 * MIB, 'a root file system ');
  content.fill(0, 1024, 2048);
  content.writeUInt16LE(0xef53, 1024 + 56);
  content.writeUInt32LE(0x240, 1024 + 96);
  Buffer.from(uuid.replaceAll('-', ''), 'hex').copy(content, 1024 + 104);
  return content;
}

const zeros = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

describe('work with a ramdisk', () => {
  it('an inspection posts what the server has, and leaves it off and free', async () => {
    const { site, machine } = await newSite();
    await site.clock.run(ask(site, machine.uuid, 'inspect'));
    await site.until(machine, ({ state }) => state === 'inspecting');
    const node = await site.until(machine, ({ state }) => state === 'available');
    expect(node.inspection?.facts).toMatchObject({ firmware: 'bios', disks: [{ name: 'sda', sizeBytes: 64 * MIB, serial: 'SIM-1' }] });
    // The simulated disk is small; everything else is as enrolled.
    expect(node.inspection?.differences).toEqual(['disk in GB: recorded 480, found 0']);
    expect([machine.server.activity, machine.events.some(({ type }) => type === 'disk exported')]).toEqual(['off', false]);
  });

  it.each(['metadata', 'full'] as const)('a cleaning (%s) erases what it says and nothing less', async (wipe) => {
    const { site, machine } = await newSite();
    for (let at = 0; at < 64; at++) await machine.disk.write(at * MIB, new Uint8Array(MIB).fill(0xa5));
    await site.clock.run(ask(site, machine.uuid, 'clean', { args: { wipe }, approval: { yes: true } }));
    await site.until(machine, ({ state }) => state === 'cleaning');
    const node = await site.until(machine, ({ state }) => state === 'available');
    expect(node.lastFailure).toBeUndefined();
    expect([zeros(await machine.disk.read(0, 16 * MIB)), zeros(await machine.disk.read(48 * MIB, 16 * MIB))]).toEqual([true, true]);
    expect(zeros(await machine.disk.read(16 * MIB, 32 * MIB))).toBe(wipe === 'full');
    expect(machine.server.activity).toBe('off');
  });

  it('a rescue runs beside the disk of the instance, and the instance comes back', async () => {
    const { site, machine } = await newSite();
    await site.spawn(machine);
    await site.settled(machine);
    await site.clock.run(ask(site, machine.uuid, 'rescue'));
    await site.until(machine, ({ state }) => state === 'rescue');
    expect(machine.server.activity).toBe('deploy ramdisk');
    expect(site.holdsImage(machine)).toBe(true);
    await site.clock.run(ask(site, machine.uuid, 'unrescue'));
    await site.until(machine, ({ state }) => state === 'active');
    await site.clock.runUntil(() => machine.server.activity === 'running from disk');
    expect(site.holdsImage(machine)).toBe(true);
  });

  it('a rebuild writes the image again, and a soft reboot asks before it cuts', async () => {
    const { site, machine } = await newSite();
    await site.spawn(machine);
    await site.settled(machine);
    await site.clock.run(ask(site, machine.uuid, 'reboot'));
    await site.until(machine, ({ request, step }) => request === undefined && step === undefined);
    await machine.disk.write(0, new Uint8Array(4096));
    await site.clock.run(ask(site, machine.uuid, 'rebuild', { approval: { yes: true } }));
    await site.until(machine, ({ state }) => state === 'building');
    const node = await site.settled(machine);
    expect([node.state, node.generation, site.holdsImage(machine)]).toEqual(['active', 2, true]);
    await site.clock.run(ask(site, machine.uuid, 'destroy', { approval: { yes: true } }));
    await site.until(machine, ({ state }) => state === 'available');
    expect(machine.server.activity).toBe('off');
  });

  it('002-12: a partition image becomes root and swap, and the instance boots by kernel with the root’s UUID', async () => {
    const { site, machine } = await newSite();
    const uuid = '6ba7b810-9dad-41d1-80b4-00c04fd430c8';
    const content = extImage(uuid);
    const images = join(folder, 'tftpboot/user_images');
    writeFileSync(join(images, 'root-image'), content);
    for (const file of ['the-kernel', 'the-ramdisk']) writeFileSync(join(images, file), Buffer.alloc(50_000, file));
    await site.clock.run(
      site.store.create(imageKind, 'root-image', {
        id: 'root-image',
        name: 'root',
        format: 'raw',
        boot: 'kernel',
        layout: 'partition',
        kernelId: 'the-kernel',
        ramdiskId: 'the-ramdisk',
        sha256: createHash('sha256').update(content).digest('hex'),
      }),
    );
    const flavor = { id: 'parts', name: 'parts', cpus: 1, memoryMb: 1, localGb: 0, swapMb: 4, ephemeralGb: 0 };
    await site.clock.run(site.store.create(flavorKind, 'parts', flavor));
    const instance = { uuid: 'b9a4c1de-7a1c-4a53-8a8d-3f6f2c0e9a11', name: 'parts-1', imageId: 'root-image', flavorId: 'parts' };
    await site.clock.run(spawn(site, machine.uuid, { ...instance, approval: { yes: true } }));
    const node = await site.settled(machine);
    expect([node.state, node.deployment?.written?.root]).toEqual(['active', `UUID=${uuid}`]);
    await site.clock.runUntil(() => machine.server.activity === 'running from the network');
    expect(machine.events.findLast(({ type }) => type === 'running')?.detail).toBe(`kernel ${instance.uuid}/kernel, root=UUID=${uuid}`);
    const table = decodeMbr(await machine.disk.read(0, 512));
    expect(table?.entries.map((entry) => entry && `${entry.type.toString(16)} ${entry.firstBlock}+${entry.blocks}`)).toEqual([
      `83 2048+${(58 * MIB) / 512}`,
      `82 ${(59 * MIB) / 512}+${(4 * MIB) / 512}`,
      undefined,
      undefined,
    ]);
    expect(Buffer.compare(await machine.disk.read(MIB, content.length), content)).toBe(0);
    expect(Buffer.from(await machine.disk.read(59 * MIB, 4096)).toString('latin1', 4086)).toBe('SWAPSPACE2');
    // Back from a rescue it has its kernel from the network again: on the disk is none.
    await site.clock.run(ask(site, machine.uuid, 'rescue'));
    await site.until(machine, ({ state }) => state === 'rescue');
    await site.clock.run(ask(site, machine.uuid, 'unrescue'));
    await site.until(machine, ({ state }) => state === 'active');
    await site.clock.runFor(300_000);
    expect(machine.server.activity).toBe('running from the network');
    // Nothing to preserve with this flavor: refused before the first byte, for good.
    await site.clock.run(ask(site, machine.uuid, 'rebuild', { args: { preserveEphemeral: true }, approval: { yes: true } }));
    await site.until(machine, ({ state }) => state === 'building');
    const failed = await site.until(machine, ({ state }) => state === 'available');
    expect(failed.lastFailure?.reason).toContain('the ephemeral partition cannot be preserved: the flavor has none');
    expect(Buffer.compare(await machine.disk.read(MIB, content.length), content)).toBe(0);
  });

  it('after a destroy with cleaning the last owner’s data at both ends is gone before the machine is free', async () => {
    const { site, machine } = await newSite({ settings: { cleanAfterDestroy: 'metadata' } });
    await site.spawn(machine);
    await site.settled(machine);
    await site.clock.run(ask(site, machine.uuid, 'destroy', { approval: { yes: true } }));
    const node = await site.until(machine, ({ state }) => state === 'available');
    expect(node.history.map(({ to }) => to).slice(-5)).toEqual(['deleted', 'cleaning', 'manageable', 'initializing', 'available']);
    expect(zeros(await machine.disk.read(0, 16 * MIB))).toBe(true);
  });
});
