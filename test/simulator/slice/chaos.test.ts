/** Whatever happens to a machine, its wire, its BMC and its management node in the middle of a deployment: no ACTIVE machine has a wrong disk. */
import { type NodeRecord, nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { type SeededRandom, seededRandom } from 'cdk8s-baremetal-simulator';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { type VirtualMachine, VirtualSite } from './virtual-site.ts';

/** A whole deployment costs as much as some 50 runs of a codec, for which FUZZ_RUNS is meant. */
const HISTORIES = Math.max(20, Math.ceil(Number(process.env.FUZZ_RUNS ?? 0) / 50));
const folder = temporaryFolder();
beforeEach(folder.create);
afterEach(folder.remove);

type Trouble = (site: VirtualSite, machine: VirtualMachine, random: SeededRandom) => Promise<void> | void;

const TROUBLES: Readonly<Record<string, Trouble>> = {
  'the management node restarts': async (site, _, random) => {
    await site.stopCore();
    await site.clock.runFor(random.fraction() * 60_000);
    await site.startCore();
  },
  'the machine loses its power': (_, machine) => machine.server.powerOff(),
  'the machine is switched on by hand': (_, machine) => machine.server.powerOn({ device: 'none', efi: false }),
  'somebody presses reset': (_, machine) => machine.server.reset({ device: 'none', efi: false }),
  'the machine is cut off': async (site, machine, random) => {
    site.network.cut('mgmt', machine.name);
    await site.clock.runFor(random.fraction() * 30_000);
    site.network.heal('mgmt', machine.name);
  },
  'only its words are lost': async (site, machine, random) => {
    site.network.cut(machine.name, 'mgmt', { oneWay: true });
    await site.clock.runFor(random.fraction() * 30_000);
    site.network.heal('mgmt', machine.name);
  },
  'the BMC hangs': async (site, machine, random) => {
    machine.bmc.faults.dead = true;
    await site.clock.runFor(random.fraction() * 20_000);
    machine.bmc.faults.dead = false;
  },
  'the BMC restarts': (_, machine) => machine.bmc.restart(),
  'the wire is bad from now on': (site) => site.degrade({ lossRatio: 0.03, duplicateRatio: 0.05, reorderRatio: 0.05 }),
};
/** Where a deployment of 2 MiB has its turns: power, self-test, DHCP, TFTP, POST, writing, restart, second boot. */
const TURNS_MS = [0, 1_000, 20_000, 20_011, 20_022, 40_022];

describe('chaos', () => {
  it.each(Array.from({ length: HISTORIES }, (_, seed) => seed))('history %i', async (seed) => {
    const random = seededRandom(`chaos ${seed}`);
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random.fraction() * from.length)] as T;
    const site = await VirtualSite.create({
      folder: folder.path('site'),
      seed,
      settings: { pxeDeployTimeoutMs: 900_000, writeTimeoutMs: 300_000, completeTimeoutMs: 900_000 },
    });
    try {
      const [machine] = site.machines;
      if (!machine) throw new Error('the site has no machine');
      const wrong: string[] = [];
      site.store.watch(nodeKind, (event) => {
        if (event.type !== 'put') return;
        const { state, installed } = event.record.value;
        if (state === 'active' && !site.holdsImage(machine)) wrong.push(`active with a wrong disk after ${told.join(', ')}`);
        if (state === 'deploy complete' && installed?.sha256 !== site.image.sha256) wrong.push('complete without the image');
      });
      const told: string[] = [];
      await site.spawn(machine);
      const began = site.clock.monotonic();
      const times = Array.from({ length: 1 + Math.floor(random.fraction() * 3) }, () => pick(TURNS_MS) + (random.fraction() - 0.3) * 15);
      for (const atMs of times.sort((a, b) => a - b)) {
        await site.clock.runFor(Math.max(0, began + atMs - site.clock.monotonic()));
        const name = pick(Object.keys(TROUBLES));
        told.push(`${name} at ${Math.round(site.clock.monotonic() - began)} ms`);
        await TROUBLES[name]?.(site, machine, random);
      }
      const node = await site.settled(machine);
      expect(wrong).toEqual([]);
      if (node.state !== 'active') {
        expect(failureOf(node), told.join(', ')).toMatch(/\S/);
        // what ends a ramdisk that has used its key ends the deployment; everything else passes
        expect(told.join(', ')).toMatch(/loses its power|presses reset/);
      }

      // when the trouble is over, the machine is as good as any
      site.network.segment('vlan1800').repair();
      if (node.state === 'active') return;
      await site.until(machine, ({ state }) => state === 'available' || state === 'error');
      expect((await site.clock.run(site.node(machine))).state, told.join(', ')).toBe('available');
      await site.spawn(machine);
      await site.until(machine, ({ state }) => state === 'active' || state === 'error' || state === 'deploy failed');
      expect((await site.clock.run(site.node(machine))).state, told.join(', ')).toBe('active');
      expect(site.holdsImage(machine)).toBe(true);
    } finally {
      await site.close();
    }
  });
});

function failureOf({ lastFailure }: NodeRecord): string {
  return lastFailure?.reason ?? '';
}
