/**
 * The daemon dies at every store write and every other await of a deployment, before the effect and after it, and another one goes on (N8).
 * FUZZ_RUNS gives the number of random histories beyond the exhaustive ones.
 */

import { sleep } from 'cdk8s-baremetal-runtime/core/index';
import { randomInt } from 'cdk8s-baremetal-runtime/core/random';
import { ask, type NodeRecord, nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import { describe, expect, it } from 'vitest';
import { IMAGE, type Knobs, type Machine, World } from './world.ts';

const RANDOM_RUNS = Number(process.env.FUZZ_RUNS ?? 200);

interface Run {
  readonly seed: number | string;
  readonly knobs?: Partial<Knobs>;
  /** Gate passes at which the first, second … daemon dies. */
  readonly crashes: readonly number[];
  /** How long after each death the next one starts. */
  readonly restartMs?: number;
  /** The next one is another replica, which must wait for the dead one's lease. */
  readonly takeover?: boolean;
  /** A second replica that lives all along. */
  readonly companion?: boolean;
  /** At these times after the spawn, the machine's owner is cut off from the group. */
  readonly partitionsAtMs?: readonly number[];
  /** Ask for a destroy at this time after the spawn. */
  readonly destroyAtMs?: number;
}

/** Lives through the run until the machine has come to rest, and checks what must hold whatever happened. */
async function live(run: Run): Promise<{ world: World; machine: Machine; node: NodeRecord; passes: number[] }> {
  const world = new World({ seed: run.seed, ...(run.knobs && { knobs: run.knobs }) });
  const machine = await world.enrol();
  const first = world.daemon('mgmt-1');
  await world.until(machine, 'available');
  await world.clock.run(first.reconciler.close());
  first.gate.kill();

  let lives = 0;
  const start = (): void => {
    const crashAt = run.crashes[lives];
    lives += 1;
    const name = run.takeover ? `mgmt-${(lives % 2) + 1}` : 'mgmt-1';
    const daemon = world.daemon(name, crashAt, () => {
      void world.node(machine).then(({ owner }) => owner !== undefined && world.coordination.crash(owner));
      void sleep(world.clock, run.restartMs ?? 3_000).then(start);
    });
    daemon.started.catch((error) => world.violations.push(`start: ${error}`));
  };
  start();
  if (run.companion) world.daemon('mgmt-9');
  await world.spawn(machine);
  for (const atMs of run.partitionsAtMs ?? []) {
    void sleep(world.clock, atMs).then(async () => {
      const { owner } = await world.node(machine);
      if (owner !== undefined) world.coordination.partition(owner);
    });
  }
  let destroyed = false;
  if (run.destroyAtMs !== undefined) {
    void sleep(world.clock, run.destroyAtMs).then(async () => {
      // refused where nothing is left to end
      destroyed = await ask(world, machine.uuid, 'destroy', { approval: { yes: true } }).then(
        () => true,
        () => false,
      );
    });
  }
  let latest = await world.node(machine);
  world.store.watch(nodeKind, (event) => {
    if (event.type === 'put') latest = event.record.value;
  });
  const resting = (node: NodeRecord): boolean =>
    node.request === undefined &&
    (node.state === 'active' ||
      (node.state === 'available' && node.instance === undefined) ||
      (node.state === 'error' && node.cleanup?.gaveUp === true));
  await world.clock.runUntil(() => resting(latest), { limitMs: 30 * 3_600_000 });
  if (run.destroyAtMs !== undefined) {
    await world.clock.runFor(run.destroyAtMs + 3_600_000);
    await world.clock.runUntil(() => resting(latest), { limitMs: 30 * 3_600_000 });
  }
  await world.clock.runFor(30_000);
  // A daemon that died while it answered the firmware is asked again once there is another.
  if (latest.state === 'active') await world.clock.runUntil(() => machine.running === 'instance', { limitMs: 600_000 });

  const node = await world.node(machine);
  const accepted = new Map<string, number>();
  for (const { key, status } of world.answers) if (status === 200) accepted.set(key, (accepted.get(key) ?? 0) + 1);
  expect([...accepted.values()].filter((count) => count > 1)).toEqual([]);
  expect(world.violations).toEqual([]);
  if (node.state === 'active') {
    expect(destroyed).toBe(false);
    expect([machine.content, machine.running]).toEqual([IMAGE.sha256, 'instance']);
  } else if (node.state === 'available') {
    expect(node.instance).toBeUndefined();
    expect([...machine.held]).toEqual([]);
    expect(machine.power).toBe('off');
  }
  expect(world.secrets.names()).toEqual([`bmc.${machine.uuid}`]);
  const emitted = [...world.logs, ...world.answers.map(({ body }) => body), JSON.stringify(node)].join('\n');
  for (const secret of world.knownSecrets) expect(emitted).not.toContain(secret);
  const passes = world.daemons.slice(1).map(({ gate }) => gate.passes);
  await world.close();
  return { world, machine, node, passes };
}

/** Every point of the run without a crash at which a daemon may die. */
async function points(run: Omit<Run, 'crashes'>): Promise<number[]> {
  const { passes } = await live({ ...run, crashes: [] });
  return Array.from({ length: passes[0] ?? 0 }, (_, index) => index + 1);
}

describe('N8: a daemon that dies at any await is succeeded, and the machine comes to the same end', () => {
  it('exhaustively: one death in a deployment that goes well, restarted 3 s later', async () => {
    const all = await points({ seed: 'well' });
    expect(all.length).toBeGreaterThan(120);
    for (const crashAt of all) {
      const { node } = await live({ seed: 'well', crashes: [crashAt] });
      expect([crashAt, node.state, node.history.filter(({ to }) => to === 'deploying').length]).toEqual([crashAt, 'active', 1]);
    }
  });

  it('exhaustively: one death, and another replica takes over when the lease has run out', async () => {
    for (const crashAt of await points({ seed: 'over' })) {
      const { node } = await live({ seed: 'over', crashes: [crashAt], takeover: true });
      expect([crashAt, node.state]).toEqual([crashAt, 'active']);
    }
  });

  it('exhaustively: one death in a deployment that fails, or in its cleanup', async () => {
    const knobs: Partial<Knobs> = { ramdisk: 'reports error' };
    for (const crashAt of await points({ seed: 'bad', knobs })) {
      const { node } = await live({ seed: 'bad', knobs, crashes: [crashAt] });
      expect([crashAt, node.state, node.lastFailure?.state]).toEqual([crashAt, 'available', 'prepared']);
      expect(node.lastFailure?.reason).toContain('Could not find disk');
    }
  });

  it('exhaustively: one death while a running deployment is destroyed', async () => {
    for (const crashAt of await points({ seed: 'gone', destroyAtMs: 17_500 })) {
      const { node } = await live({ seed: 'gone', destroyAtMs: 17_500, crashes: [crashAt] });
      expect([crashAt, node.state]).toEqual([crashAt, 'available']);
    }
  });

  it(`${RANDOM_RUNS} random histories: several deaths, replays, failures of every port, a destroy at any time`, async () => {
    const ends = new Map<string, number>();
    for (let seed = 0; seed < RANDOM_RUNS; seed++) {
      const random = seededRandom(`history ${seed}`);
      const chance = (percent: number): boolean => randomInt(random, 100) < percent;
      const calls = [
        'plug',
        'cache',
        'activate',
        'ensureOff',
        'ensureOn',
        'identify',
        'write',
        'switchToBoot',
        'done',
        'deactivate',
        'detach',
        'unplug',
      ] as const;
      const failures: Knobs['failures'] = {};
      for (const call of calls) if (chance(20)) failures[call] = chance(10) ? Infinity : 1 + randomInt(random, 3);
      const run: Run = {
        seed,
        crashes: Array.from({ length: randomInt(random, 5) }, () => 1 + randomInt(random, 120)),
        restartMs: randomInt(random, 40_000),
        takeover: chance(30),
        companion: chance(30),
        ...(chance(30) && { partitionsAtMs: [randomInt(random, 40_000), randomInt(random, 80_000)] }),
        ...(chance(30) && { destroyAtMs: randomInt(random, 60_000) }),
        knobs: {
          failures,
          replays: chance(50),
          ramdisk: chance(85) ? 'posts' : chance(50) ? 'silent' : 'reports error',
          bootSeen: chance(70),
          chunks: 1 + randomInt(random, 20),
          chunkMs: 1 + randomInt(random, 3_000),
          ...(chance(10) && { writtenSha256: 'e'.repeat(64) }),
        },
      };
      const { node } = await live(run).catch((error: unknown) => {
        throw new Error(`seed ${seed}: ${JSON.stringify(run)}: ${error instanceof Error ? error.message : error}`, { cause: error });
      });
      ends.set(node.state, (ends.get(node.state) ?? 0) + 1);
    }
    // The mix is worth its time only while all ends are met.
    if (RANDOM_RUNS >= 100) expect([...ends.keys()].sort()).toEqual(['active', 'available', 'error']);
  }, 600_000);

  it('a machine left in error by a hopeless cleanup is released once the cause is gone, also by a new daemon', async () => {
    const { world, machine } = await live({
      seed: 'stuck',
      knobs: { ramdisk: 'reports error', failures: { detach: Infinity } },
      crashes: [60],
    });
    world.knobs.failures = {};
    world.daemon('mgmt-1');
    await ask(world, machine.uuid, 'retry');
    await world.until(machine, 'available');
    await world.close();
  });
});
