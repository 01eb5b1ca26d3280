/** Two bms-core processes, a real ZooKeeper and a real MariaDB: whatever dies or stands still in mid-deployment, the machine gets its image, once. */
import { sleep } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { missingForPod, ReplicaPod } from './replica-pod.ts';

const missing = missingForPod();
if (missing !== undefined) console.warn(`SKIPPED: two bms-core processes on ZooKeeper and MariaDB: ${missing}`);
const LIMIT_MS = 120_000;

describe.skipIf(missing !== undefined)('two replicas as processes', () => {
  let pod: ReplicaPod;
  beforeAll(async () => {
    pod = await ReplicaPod.create();
    await Promise.all([pod.start(1), pod.start(2)]);
  }, LIMIT_MS);
  afterAll(() => pod.close(), LIMIT_MS);

  it(
    'N8: the owner is killed (-9) in the middle of the image: the other takes over and finishes it; the dead one comes back and rests',
    async () => {
      const machine = await pod.machine(1);
      const before = await pod.writing(machine);
      const { owner, other } = pod.between(before);
      owner.child.kill('SIGKILL');
      await owner.ended;
      const taken = await pod.until(machine, ({ epoch }) => epoch > before.epoch);
      expect(taken.owner?.startsWith(`${other.name}#`)).toBe(true);
      machine.pace.left = Infinity;
      const node = await pod.until(machine, ({ state }) => state === 'active');
      expect([await pod.holdsImage(machine), node.deployment?.id, node.lastFailure]).toEqual([true, before.deployment?.id, undefined]);
      await pod.start(owner.name === 'mgmt-1' ? 1 : 2);
      expect((await pod.node(machine)).owner).toBe(node.owner);
    },
    LIMIT_MS,
  );

  it(
    'the owner is stopped (SIGSTOP) in the middle of the image, and wakes when the other has finished: it writes nothing any more',
    async () => {
      const machine = await pod.machine(2);
      const before = await pod.writing(machine);
      const { owner, other } = pod.between(before);
      owner.child.kill('SIGSTOP');
      try {
        await pod.until(machine, ({ epoch }) => epoch > before.epoch);
        machine.pace.left = Infinity;
        const node = await pod.until(machine, ({ state }) => state === 'active');
        expect([node.owner?.startsWith(`${other.name}#`), await pod.holdsImage(machine)]).toEqual([true, true]);
        const record = await pod.store.get(nodeKind, machine.uuid);
        // Whoever writes to the disk from now on is found out.
        const mark = new Uint8Array(4096).fill(0x5a);
        for (let at = 0; at < 16; at++) await machine.disk.write(at * 1024 * 1024, mark);
        owner.child.kill('SIGCONT');
        await owner.said('no longer in the group; stopping all work');
        await sleep(nodeClock, 1_500);
        const after = await pod.store.get(nodeKind, machine.uuid);
        expect([after?.version, after?.value]).toEqual([record?.version, record?.value]);
        for (let at = 0; at < 16; at++) expect((await machine.disk.read(at * 1024 * 1024, 4096)).every((byte) => byte === 0x5a)).toBe(true);
      } finally {
        owner.child.kill('SIGCONT');
      }
    },
    LIMIT_MS,
  );

  it(
    '002-6: the database is killed and started again in the middle of the image: the same deployment ends well',
    async () => {
      const machine = await pod.machine(3);
      const before = await pod.writing(machine);
      await pod.database.stop('SIGKILL');
      await sleep(nodeClock, 500);
      await pod.database.start();
      machine.pace.left = Infinity;
      const node = await pod.until(machine, ({ state }) => state === 'active');
      expect([await pod.holdsImage(machine), node.deployment?.id]).toEqual([true, before.deployment?.id]);
    },
    LIMIT_MS,
  );

  it.each(['killed', 'stopped'] as const)(
    '000-16: ZooKeeper is %s for longer than a session in the middle of the image: work stops, and goes on when it is back',
    async (how) => {
      const machine = await pod.machine(how === 'killed' ? 4 : 6);
      const before = await pod.writing(machine);
      const { owner } = pod.between(before);
      const seen = owner.lines.length;
      if (how === 'killed') await pod.zookeeper.kill();
      else pod.zookeeper.signal('SIGSTOP');
      for (let looks = 0; looks < 200 && !lost(owner.lines.slice(seen)); looks++) await sleep(nodeClock, 50);
      expect(lost(owner.lines.slice(seen))).toBe(true);
      if (how === 'killed') await pod.zookeeper.start();
      else pod.zookeeper.signal('SIGCONT');
      machine.pace.left = Infinity;
      const node = await pod.until(machine, ({ state }) => state === 'active');
      expect([await pod.holdsImage(machine), node.epoch > before.epoch, node.deployment?.id]).toEqual([true, true, before.deployment?.id]);
    },
    LIMIT_MS,
  );

  it(
    'an upgrade in the middle of the image: the old process is told to end and hands over at once; the new one takes its place',
    async () => {
      const machine = await pod.machine(5);
      const before = await pod.writing(machine);
      const { owner, other } = pod.between(before);
      const at = nodeClock.monotonic();
      owner.child.kill('SIGTERM');
      expect(await owner.ended).toBe(0);
      const taken = await pod.until(machine, ({ epoch }) => epoch > before.epoch);
      expect(taken.owner?.startsWith(`${other.name}#`)).toBe(true);
      expect(nodeClock.monotonic() - at).toBeLessThan(30_000); // not its whole session plus a restart: it left
      await pod.start(owner.name === 'mgmt-1' ? 1 : 2);
      machine.pace.left = Infinity;
      const node = await pod.until(machine, ({ state }) => state === 'active');
      expect([await pod.holdsImage(machine), node.deployment?.id]).toEqual([true, before.deployment?.id]);
      expect(node.lastFailure).toBeUndefined();
    },
    LIMIT_MS,
  );

  it('no password has been in a log line of any of them', () => {
    const all = JSON.stringify(pod.replicas.map(({ lines }) => lines));
    expect(all).not.toContain(pod.database.password.reveal());
  });
});

function lost(lines: readonly Record<string, unknown>[]): boolean {
  return lines.some(({ msg }) => msg === 'no longer in the group; stopping all work');
}
