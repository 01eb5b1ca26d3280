/**
 * One random history of a machine from one seed: verbs at any time, deaths of the daemon at any await, partitions, a replica that is paused and wakes
 * late, clocks that disagree, failing drivers. At the end everything works again, and the machine must come to rest, and then become free and clean.
 */
import { sleep } from 'cdk8s-baremetal-runtime/core/index';
import { randomInt } from 'cdk8s-baremetal-runtime/core/random';
import {
  type AskOptions,
  ask,
  imageKind,
  type NodeRecord,
  nodeKind,
  setMaintenance,
  states,
  type Verb,
} from 'cdk8s-baremetal-runtime/machine/index';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import { type Call, type Daemon, type Faults, IMAGE, type Knobs, type Machine, World, type WorldOptions } from './world.ts';

export interface Told {
  readonly states: ReadonlySet<string>;
  readonly verbs: ReadonlySet<string>;
  readonly deaths: number;
}

const VERBS: readonly { readonly verb: Verb; readonly options?: AskOptions }[] = [
  { verb: 'destroy', options: { approval: { yes: true } } },
  { verb: 'retry' },
  { verb: 'abort' },
  { verb: 'unstick' },
  { verb: 'reboot' },
  { verb: 'reboot', options: { args: { mode: 'hard' } } },
  { verb: 'power on' },
  { verb: 'power off' },
  { verb: 'attach volume', options: { args: { volume: 'v1' } } },
  { verb: 'detach volume', options: { args: { volume: 'v1' } } },
  { verb: 'plug vifs', options: { args: { vifs: ['n1'] } } },
  { verb: 'rebuild', options: { approval: { yes: true } } },
  { verb: 'rescue' },
  { verb: 'unrescue' },
  { verb: 'inspect' },
  { verb: 'clean', options: { args: { wipe: 'full' }, approval: { yes: true } } },
  { verb: 'manage' },
  { verb: 'provide' },
];
const FAILING: readonly Call[] = [
  ...(['plug', 'attach', 'cache', 'cacheRamdisk', 'activate', 'ensureOff', 'ensureOn', 'softOff', 'identify', 'write', 'erase'] as const),
  ...(['switchToBoot', 'done', 'deactivate', 'release', 'detach', 'unplug', 'attachVolume', 'detachVolume', 'status'] as const),
];
const IN_A_DEPLOYMENT: readonly Call[] = [
  'plug',
  'cache',
  'activate',
  'ensureOff',
  'ensureOn',
  'identify',
  'write',
  'switchToBoot',
  'done',
  'release',
];
const LIMIT = { limitMs: 100 * 3_600_000 };

/** Where a history is lived through; by default in memory. */
export interface Place extends Pick<WorldOptions, 'group' | 'store'> {
  /** Once per step; `below` is the history's own randomness. */
  readonly disturb?: (world: World, below: (limit: number) => number, members: readonly string[]) => void;
  /** Ends every disturbance. */
  readonly calm?: (world: World) => void;
}

/** Rejects with what did not hold. */
export async function liveHistory(seed: number | string, faults: Faults = {}, place: Place = {}): Promise<Told> {
  const random = seededRandom(`history of verbs ${seed}`);
  const below = (limit: number): number => randomInt(random, limit);
  const chance = (percent: number): boolean => below(100) < percent;
  // Of its own, so that the histories that have a name stay what they are.
  const mischief = seededRandom(`mischief ${seed}`);
  const failures: Knobs['failures'] = {};
  for (const call of FAILING) if (chance(15)) failures[call] = chance(15) ? Infinity : 1 + below(4);
  const world = new World({
    ...place,
    seed,
    settings: { cleanAfterDestroy: chance(20) ? 'metadata' : 'none', cleanupStepMs: 30_000, softOffMs: 20_000 },
    knobs: {
      failures,
      replays: chance(40),
      ramdisk: chance(80) ? 'posts' : chance(50) ? 'silent' : 'reports error',
      oldRamdisk: chance(10),
      bootSeen: chance(70),
      listensToSoftOff: chance(50),
      chunks: 1 + below(20),
      chunkMs: 1 + below(3_000),
      lostPowerOns: Math.max(0, randomInt(mischief, 8) - 5),
      resets: (['before reading', 'after reading'] as const)[randomInt(mischief, 8)],
    },
  });
  world.faults = faults;
  await world.store.create(imageKind, 'image-1', { id: 'image-1', name: 'one', format: 'raw', boot: 'local' });
  world.skewsMs = { 'mgmt-1': chance(50) ? below(600_000) - 300_000 : 0, 'mgmt-2': chance(50) ? below(600_000) - 300_000 : 0 };
  const machine = await world.enrol(1, { target: chance(20) ? 'manageable' : 'available', ...(chance(20) && { inspect: true }) });

  let deaths = 0;
  let over = false;
  const started: Daemon[] = [];
  const start = (name: string, crashes: number[], paused = false): void => {
    const daemon = world.daemon(
      name,
      crashes.shift(),
      () => {
        deaths += 1;
        void world.node(machine).then(({ owner }) => owner?.startsWith(name) && world.coordination.crash(owner));
        void sleep(world.clock, 3_000 + 10 * deaths).then(() => over || start(name, crashes));
      },
      paused,
    );
    started.push(daemon);
    daemon.started.catch((error) => world.violations.push(`start: ${error}`));
  };
  const crashPoints = (): number[] => Array.from({ length: below(4) }, () => 1 + below(150));
  const pauses = chance(30);
  start('mgmt-1', pauses ? [] : crashPoints(), pauses);
  if (!pauses && chance(50)) start('mgmt-2', crashPoints());

  const seen = new Set<string>();
  const asked = new Set<string>();
  let latest = await world.node(machine);
  world.store.watch(nodeKind, (event) => {
    if (event.type !== 'put') return;
    latest = event.record.value;
    seen.add(latest.state);
  });

  const steps = 2 + below(14);
  const pausesAt = chance(70) ? steps : 1 + below(steps);
  for (let step = steps; step > 0; step--) {
    await world.clock.runFor(chance(30) ? below(500) : below(chance(20) ? 400_000 : 25_000));
    if (chance(25)) {
      const { memberId } = started[below(started.length)]?.reconciler ?? {};
      if (memberId !== undefined && chance(40)) world.coordination.partition(memberId);
    }
    place.disturb?.(
      world,
      below,
      started.flatMap(({ gate, reconciler }) => (gate.dead || reconciler.memberId === undefined ? [] : [reconciler.memberId])),
    );
    if (pauses && step === pausesAt) {
      await pause(world, machine, started[0], IN_A_DEPLOYMENT[below(IN_A_DEPLOYMENT.length)] ?? 'write', below(50_000));
      start('mgmt-2', crashPoints());
    }
    if (chance(10)) await setMaintenance(world, machine.uuid, chance(50));
    if (chance(45)) await world.spawn(machine, `inst-${step}`);
    else {
      const { verb, options } = VERBS[below(VERBS.length)] ?? { verb: 'retry' };
      await ask(world, machine.uuid, verb, options).then(
        () => asked.add(verb),
        () => undefined, // refused, as it should be in most states
      );
    }
    await wakeAll(world, machine, pauses);
  }

  // From here on everything works, and the daemons that there are stay.
  over = true;
  place.calm?.(world);
  Object.assign(world.knobs, { failures: {}, ramdisk: 'posts', oldRamdisk: false, lostPowerOns: 0 });
  if (pauses) started[0]?.gate.kill();
  for (const { memberId } of started.filter(({ gate }) => gate.dead).map(({ reconciler }) => reconciler)) {
    if (memberId !== undefined) world.coordination.crash(memberId);
  }
  world.daemon('mgmt-3');
  await setMaintenance(world, machine.uuid, false);
  const rests = (node: NodeRecord): boolean => node.request === undefined && node.step === undefined && states[node.state].rests(node);
  // Until then somebody alive looks after it, or does so within a minute.
  for (let looks = 0, orphaned = 0; looks < 30 && !rests(latest); looks++) {
    await world.clock.runFor(20_000);
    const { owner, state } = latest;
    const owned = owner !== undefined && (await world.clock.run(world.coordination.isAlive(owner)));
    orphaned = owned || rests(latest) ? 0 : orphaned + 1;
    if (orphaned > 3) throw new Error(`${state}, and nobody alive has looked after it for a minute`);
  }
  await world.clock.runUntil(() => rests(latest), LIMIT);
  if (latest.state === 'active') {
    await world.clock.runFor(120_000);
    if (machine.content !== IMAGE.sha256) throw new Error(`active with ${machine.content} on its disk`);
  }
  for (let tries = 0; latest.state !== 'available'; tries++) {
    if (tries > 4) throw new Error(`not free after five tries: ${latest.state}, ${latest.reason}`);
    await release(world, latest);
    await world.clock.runUntil(() => rests(latest), LIMIT);
  }
  await world.clock.runFor(120_000);
  check(world, machine, latest, pauses);
  await world.close();
  return { states: seen, verbs: asked, deaths };
}

/** In the middle of a driver's call the process stops; its lease runs out, and some time later it goes on as if nothing had happened. */
async function pause(world: World, machine: Machine, daemon: Daemon | undefined, call: Call, forMs: number): Promise<void> {
  const member = daemon?.reconciler.memberId;
  if (daemon === undefined || member === undefined) return;
  await world.spawn(machine, 'inst-paused');
  // Until then it hears of others' writes like anybody.
  const hearing = world.store.watch(nodeKind, () => daemon.reconciler.wake(machine.uuid));
  daemon.reconciler.wake(machine.uuid);
  const made = world.calls.length;
  world.knobs.slow = { call, ms: 16_000 + forMs };
  const until = world.clock.now() + 90_000;
  await world.clock.runUntil(() => world.calls.slice(made).includes(call) || world.clock.now() > until).catch(() => undefined);
  world.knobs.slow = undefined;
  hearing.close();
  world.coordination.crash(member);
}

/** What a person would do. */
async function release(world: World, node: NodeRecord): Promise<void> {
  if (node.state === 'error') await ask(world, node.uuid, 'retry');
  else if (node.state === 'manageable') await ask(world, node.uuid, 'provide');
  else await ask(world, node.uuid, 'destroy', { approval: { yes: true } });
}

function check(world: World, machine: Machine, node: NodeRecord, pauses: boolean): void {
  const problems = [...world.violations];
  const accepted = new Map<string, number>();
  for (const { key, status } of world.answers) if (status === 200) accepted.set(key, (accepted.get(key) ?? 0) + 1);
  for (const count of accepted.values()) if (count > 1) problems.push(`a key was accepted ${count} times`);
  // A paused replica's drivers may come late, and what they leave no compare-and-swap can see; and until its successor logs in, it may go on with
  // the image that it was writing: docs/machine.md says so.
  const late = pauses
    ? problems.filter(
        (problem) => !/still holding|before it was clean|^(?:wrote in deploying|erased in cleaning), epoch \d+ of \d+$/.test(problem),
      )
    : problems;
  if (!pauses) {
    if (machine.held.size > 0) late.push(`free, and holds ${[...machine.held]}`);
    if (machine.volumes.size > 0) late.push('free, and has a volume');
  }
  if (node.instance !== undefined || node.deployment !== undefined || node.ramdisk !== undefined) late.push('free, and still associated');
  const secrets = world.secrets.names();
  if (!pauses && secrets.length !== 1) late.push(`secrets are left: ${secrets.slice(1)}`);
  const emitted = [...world.logs, ...world.answers.map(({ body }) => body), JSON.stringify(node)].join('\n');
  for (const secret of world.knownSecrets) if (emitted.includes(secret)) late.push('a secret was emitted');
  if (late.length > 0) throw new Error([...new Set(late)].join('; '));
}

/** A deaf replica is told, until it is paused. */
async function wakeAll(world: World, machine: Machine, pauses: boolean): Promise<void> {
  if (!pauses) return;
  for (const { gate, reconciler } of world.daemons) if (!gate.dead) reconciler.wake(machine.uuid);
}
