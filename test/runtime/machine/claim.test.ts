import { Secret } from 'cdk8s-baremetal-contract/secret';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import type { ClaimOutcome } from 'cdk8s-baremetal-runtime/deploy/helper/index';
import {
  BootView,
  claimDeployment,
  deployKeyHash,
  keyMatches,
  type NodeRecord,
  newDeployKey,
  nodeKind,
  observe,
} from 'cdk8s-baremetal-runtime/machine/index';
import { modify } from 'cdk8s-baremetal-runtime/store/index';
import { describe, expect, it } from 'vitest';
import { type Machine, World } from './world.ts';

/** A machine whose ramdisk is up and silent, and what it would post. */
async function waiting() {
  const world = new World({ knobs: { ramdisk: 'silent' } });
  const machine = await world.enrol();
  const daemon = world.daemon();
  await world.until(machine, 'available');
  await world.spawn(machine);
  await world.until(machine, 'prepared');
  await world.clock.runUntil(() => machine.ramdisk !== undefined);
  const { key = '', iqn = '' } = machine.ramdisk ?? {};
  const claim = claimDeployment({ store: world.store, clock: world.clock });
  const good = { id: 1, key, address: machine.address, remoteAddress: machine.address, iqn, port: 3260, lun: 1 };
  return { world, machine, daemon, claim, good };
}

async function change(world: World, machine: Machine, next: (node: NodeRecord) => NodeRecord) {
  await modify(world.store, nodeKind, machine.uuid, next);
}

describe('a deployment key', () => {
  it('N2: is 256 random bits in 52 characters that need no escape', () => {
    const keys = new Set(Array.from({ length: 200 }, () => newDeployKey(nodeRandom).reveal()));
    expect(keys.size).toBe(200);
    for (const key of keys) expect(key).toMatch(/^[A-Z2-7]{52}$/);
    const fixed = newDeployKey({ bytes: (length) => new Uint8Array(length).fill(0xff) });
    expect(fixed.reveal()).toBe(`${'7'.repeat(51)}Q`); // 256 = 51 * 5 + 1 bits
  });

  it('N2: is stored as its SHA-256 only, and compared with it', () => {
    const key = new Secret('A'.repeat(52));
    expect(keyMatches(key, deployKeyHash(key))).toBe(true);
    expect(keyMatches(new Secret('B'), deployKeyHash(key))).toBe(false);
    expect(keyMatches(key, undefined)).toBe(false);
  });

  it('N2, N10: of 20 POSTs at once on several replicas exactly one is accepted', async () => {
    const { world, machine, claim, good } = await waiting();
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => claim(good)));
    expect(outcomes.filter(({ kind }) => kind === 'accepted')).toHaveLength(1);
    expect(outcomes.filter(({ kind }) => kind === 'used')).toHaveLength(19);
    await world.until(machine, 'active');
    expect(world.violations).toEqual([]);
  });

  it('N3: a replay on a live machine is refused and changes neither its state nor its disk', async () => {
    const { world, machine, claim, good } = await waiting();
    await claim(good);
    await world.until(machine, 'active');
    world.calls.length = 0;
    expect(await claim(good)).toEqual({ kind: 'used' });
    await world.clock.runFor(3_600_000);
    expect([(await world.node(machine)).state, world.calls]).toEqual(['active', []]);
  });

  type Case = [string, (setup: Awaited<ReturnType<typeof waiting>>) => Promise<ClaimOutcome>, object];
  const refusals: Case[] = [
    ['N9: an unknown machine', async ({ claim, good }) => claim({ ...good, id: 99 }), { kind: 'unknown-node' }],
    ['N2: a wrong key', async ({ claim, good }) => claim({ ...good, key: 'wrong' }), { kind: 'wrong-key' }],
    ['N2: an empty key', async ({ claim, good }) => claim({ ...good, key: '' }), { kind: 'wrong-key' }],
    [
      'N4: an address that is not the sender’s',
      async ({ claim, good }) => claim({ ...good, address: '10.0.0.99' }),
      { kind: 'wrong-address', reason: "the address 10.0.0.99 is not the sender's, 10.0.0.11" },
    ],
    [
      'N4: the right key from another machine',
      async ({ claim, good }) => claim({ ...good, address: '10.0.0.99', remoteAddress: '10.0.0.99' }),
      { kind: 'wrong-address', reason: 'the address 10.0.0.99 is not the lease of this machine, 10.0.0.11' },
    ],
    ['N4: another target', async ({ claim, good }) => claim({ ...good, iqn: 'iqn.evil' }), { kind: 'wrong-target' }],
    [
      'N4: no lease known',
      async ({ world, machine, claim, good }) => {
        await change(world, machine, (node) => ({
          ...node,
          deployment: node.deployment && { ...node.deployment, allowedAddress: undefined },
        }));
        return claim(good);
      },
      { kind: 'wrong-address', reason: 'no lease of this machine is known' },
    ],
    [
      'N13: an expired key',
      async ({ world, machine, claim, good }) => {
        await change(world, machine, (node) => ({
          ...node,
          deployment: node.deployment && { ...node.deployment, expiresAt: world.clock.now() },
        }));
        return claim(good);
      },
      { kind: 'expired' },
    ],
    [
      'N2: a machine that is not powered on for this deployment',
      async ({ world, machine, daemon, claim, good }) => {
        await world.clock.run(daemon.reconciler.close());
        await change(world, machine, (node) => ({ ...node, state: 'building', step: 'power off' }));
        return claim(good);
      },
      { kind: 'not-waiting', state: 'building' },
    ],
  ];
  it.each(refusals)('%s is refused, and the key stays good for its owner', async (_name, attempt, outcome) => {
    const setup = await waiting();
    const { keyHash } = (await setup.world.node(setup.machine)).deployment ?? {};
    expect(await attempt(setup)).toMatchObject(outcome);
    expect((await setup.world.node(setup.machine)).deployment).toMatchObject({ keyHash });
    expect((await setup.world.node(setup.machine)).deployment?.claim).toBeUndefined();
  });

  it('N4: sites whose leases are not seen check the source address alone', async () => {
    const { world, machine, good } = await waiting();
    await change(world, machine, (node) => ({ ...node, deployment: node.deployment && { ...node.deployment, allowedAddress: undefined } }));
    const claim = claimDeployment({ store: world.store, clock: world.clock, settings: { addressCheck: 'source' } });
    expect(await claim({ ...good, remoteAddress: '10.9.9.9' })).toMatchObject({ kind: 'wrong-address' });
    expect(await claim(good)).toEqual({ kind: 'accepted' });
  });

  it('N10: a POST while the owner is still writing down the power-on is accepted', async () => {
    const { world, machine, daemon, claim, good } = await waiting();
    await world.clock.run(daemon.reconciler.close());
    await change(world, machine, (node) => ({ ...node, state: 'building', step: 'power on' }));
    expect(await claim(good)).toEqual({ kind: 'accepted' });
    const { session } = machine;
    world.daemon();
    await world.until(machine, 'deploying');
    expect(machine.session).toBe(session); // its power was not touched under it
    await world.until(machine, 'active');
  });

  it('N13: moves with the lease of the machine, and with no other', async () => {
    const { world, machine } = await waiting();
    await observe(world, machine.uuid, { type: 'DHCP lease', lease: { mac: '02:ff:ff:ff:ff:ff', address: '10.0.0.66' } });
    expect((await world.node(machine)).deployment?.allowedAddress).toBe(machine.address);
    await observe(world, machine.uuid, { type: 'DHCP lease', lease: { mac: machine.mac, address: '10.0.0.77' } });
    expect((await world.node(machine)).deployment?.allowedAddress).toBe('10.0.0.77');
  });

  it('N13: the boot view hands it out only while it may be used', async () => {
    const { world, machine, claim, good } = await waiting();
    const view = new BootView(world);
    const boot = async () => (await view.findMachine(machine.mac))?.boot;
    expect(await boot()).toMatchObject({
      kind: 'deploy',
      deploymentKey: good.key,
      deploymentId: '1',
      allowedAddress: machine.address,
      kernel: 'inst-1/deploy_kernel',
    });
    expect((await view.findMachineByUuid('inst-1'))?.id).toBe('bm-1');
    expect(await view.findMachineByUuid(machine.uuid)).toBeUndefined();
    expect(await view.findMachineByUuid('inst-9')).toBeUndefined();
    await claim(good);
    expect(await boot()).toMatchObject({ kind: 'none' });
    await world.until(machine, 'active');
    expect(await boot()).toEqual({ kind: 'local-disk' }); // N12
    await change(world, machine, (node) => {
      const { deployment } = node;
      if (!deployment?.written) throw new Error();
      return { ...node, deployment: { ...deployment, image: { boot: 'kernel' }, written: { ...deployment.written, root: 'UUID=1234' } } };
    });
    expect(await boot()).toEqual({ kind: 'network', kernel: 'inst-1/kernel', ramdisk: 'inst-1/ramdisk', root: 'UUID=1234', append: '' });
    expect(await view.findMachine('02:00:00:00:00:09')).toBeUndefined();
    view.close();
  });

  it.each([
    ['', 'quiet'],
    ['nofb nomodeset vga=normal', 'nofb nomodeset vga=normal quiet'],
    [' console=ttyS1,115200n8  quiet', 'console=ttyS1,115200n8 quiet'],
    ['loglevel=7', 'loglevel=7'],
    ['debug', 'debug'],
  ])(
    '002-13: with the kernel words "%s" the ramdisk’s kernel gets "%s": it prints no key that nobody asked for',
    async (kernelWords, append) => {
      const { world, machine, claim, good } = await waiting();
      const view = new BootView({ store: world.store, secrets: world.secrets, kernelWords });
      expect((await view.findMachine(machine.mac))?.boot).toMatchObject({ kind: 'deploy', append });
      await claim(good);
      await world.until(machine, 'active');
      await change(world, machine, (node) => {
        const { deployment } = node;
        if (!deployment?.written) throw new Error();
        return { ...node, deployment: { ...deployment, image: { boot: 'kernel' }, written: { ...deployment.written, root: 'UUID=1234' } } };
      });
      // an instance's own kernel has no key to tell
      const own = kernelWords
        .split(' ')
        .filter((word) => word !== '')
        .join(' ');
      expect((await view.findMachine(machine.mac))?.boot).toMatchObject({ kind: 'network', append: own });
      view.close();
    },
  );

  it('002-13: with a kernel of its own the instance has the original’s second entry, which nobody chooses yet', async () => {
    const { world, machine } = await waiting();
    const view = new BootView({ store: world.store, secrets: world.secrets, kernelWords: 'console=ttyS1' });
    const next = async () => {
      const boot = (await view.findMachine(machine.mac))?.boot;
      return boot?.kind === 'deploy' ? boot.next : boot?.kind;
    };
    expect(await next()).toBeUndefined();
    await change(world, machine, (node) =>
      node.deployment ? { ...node, deployment: { ...node.deployment, image: { boot: 'kernel' } } } : node,
    );
    expect(await next()).toEqual({ kernel: 'inst-1/kernel', ramdisk: 'inst-1/ramdisk', append: 'console=ttyS1' });
    view.close();
  });

  it('002-13: the ramdisk restarts without the firmware only where that is wished for, and a kernel is on the disk', async () => {
    const { world, machine } = await waiting();
    const words = async (options: { kexec?: boolean }): Promise<string> => {
      const view = new BootView({ store: world.store, secrets: world.secrets, ...options });
      const boot = (await view.findMachine(machine.mac))?.boot;
      view.close();
      return boot?.kind === 'deploy' ? (boot.append ?? '') : (boot?.kind ?? '');
    };
    expect(await words({})).not.toContain('bms_restart');
    expect(await words({ kexec: true })).toContain('bms_restart=kexec');
    await change(world, machine, (node) =>
      node.deployment ? { ...node, deployment: { ...node.deployment, image: { boot: 'kernel' } } } : node,
    );
    expect(await words({ kexec: true })).not.toContain('bms_restart');
  });
});
