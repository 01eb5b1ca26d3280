/** Inspection, cleaning, rescue and rebuild over real DHCP, TFTP, HTTP, IPMI and iSCSI, on a virtual clock. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ask, destroy } from 'cdk8s-baremetal-runtime/machine/index';
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
    await site.clock.run(destroy(site, machine.uuid));
    await site.until(machine, ({ state }) => state === 'available');
    expect(machine.server.activity).toBe('off');
  });

  it('after a destroy with cleaning the last owner’s data at both ends is gone before the machine is free', async () => {
    const { site, machine } = await newSite({ settings: { cleanAfterDestroy: 'metadata' } });
    await site.spawn(machine);
    await site.settled(machine);
    await site.clock.run(destroy(site, machine.uuid));
    const node = await site.until(machine, ({ state }) => state === 'available');
    expect(node.history.map(({ to }) => to).slice(-5)).toEqual(['deleted', 'cleaning', 'manageable', 'initializing', 'available']);
    expect(zeros(await machine.disk.read(0, 16 * MIB))).toBe(true);
  });
});
