/**
 * Any history of partitions, frozen servers, broken connections and lost answers: nobody works on the strength of a node that is not there, and
 * when the trouble is over everything goes on. Without operators' deletions: those end lives without warning, as they should.
 */
import type { Coordination, Lease, Membership } from 'cdk8s-baremetal-runtime/coordination/index';
import { sleep } from 'cdk8s-baremetal-runtime/core/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LEASE_MS, modelGroup } from './groups.ts';

const RUNS = Number(process.env.FUZZ_RUNS ?? 60);
const PLACES = 2;
const SAMPLE_MS = 25;

const event = fc.record({
  what: fc.constantFrom('partition', 'heal', 'freeze', 'thaw', 'drop', 'lose answers', 'nothing'),
  victim: fc.nat(5),
  forMs: fc.integer({ min: 1, max: LEASE_MS }),
});

describe('000-16: random histories of a ZooKeeper that fails', () => {
  it('a life or a place that is not lost has its node; never more holders than places; in the end all join and get their turn', async () => {
    let lostLives = 0;
    let leases = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 25 }), async (events) => {
        const group = modelGroup();
        const { clock, zookeeper } = group;
        const faults: string[] = [];
        const members = new Set<Membership>();
        const held = new Set<Lease>();
        let trouble = true;

        const live = async (replica: Coordination, name: string): Promise<Membership> => {
          for (;;) {
            try {
              const member = await replica.join(name);
              members.add(member);
              if (!trouble) return member;
              await Promise.race([new Promise((resolve) => member.lost.addEventListener('abort', resolve)), until(() => !trouble)]);
              if (!member.lost.aborted) return member;
              lostLives += 1;
            } catch {
              await sleep(clock, 100);
            }
          }
        };
        const work = async (replica: Coordination): Promise<void> => {
          for (let last = false; !last; ) {
            last = !trouble;
            try {
              const lease = await replica.acquire('switch', { limit: PLACES, timeoutMs: 120_000 });
              held.add(lease);
              leases += 1;
              await sleep(clock, 700);
              held.delete(lease);
              await lease.release();
            } catch (error) {
              if (!trouble) faults.push(String(error));
              await sleep(clock, 100);
            }
          }
        };
        const until = async (condition: () => boolean): Promise<void> => {
          while (!condition()) await sleep(clock, 50);
        };
        const inspect = (): void => {
          const paths = new Set(zookeeper.paths());
          for (const { id, lost } of members) if (!lost.aborted && !paths.has(`/site/bms/members/${id}`)) faults.push(`${id} has no node`);
          const holders = [...held].filter(({ lost }) => !lost.aborted).length;
          if (holders > PLACES) faults.push(`${holders} holders`);
        };
        const watching = (async () => {
          while (trouble) {
            inspect();
            await sleep(clock, SAMPLE_MS);
          }
        })();

        const replicas = Array.from({ length: 4 }, () => group.replica());
        const lives = replicas.map((replica, i) => live(replica, `node-${i}`));
        const works = replicas.map((replica) => work(replica));
        await clock.runFor(500);
        for (const { what, victim, forMs } of events) {
          const sessions = zookeeper.sessions();
          if (what === 'partition') zookeeper.partition(sessions[victim % Math.max(1, sessions.length)] ?? '');
          if (what === 'heal') zookeeper.heal();
          if (what === 'freeze') zookeeper.freeze();
          if (what === 'thaw') zookeeper.thaw();
          if (what === 'drop') zookeeper.dropConnections();
          if (what === 'lose answers') zookeeper.loseAnswersToCreate(1 + (victim % 3));
          await clock.runFor(forMs);
        }
        zookeeper.thaw();
        zookeeper.heal();
        zookeeper.loseAnswersToCreate(0);
        await clock.runFor(LEASE_MS * 2);
        trouble = false;
        await clock.run(Promise.all([watching, ...works]), { limitMs: 600_000 });
        const final = await clock.run(Promise.all(lives), { limitMs: 600_000 });
        await clock.runFor(LEASE_MS);
        inspect();
        for (const { id, lost } of final) if (lost.aborted) faults.push(`${id} was lost in quiet times`);
        for (const replica of replicas) {
          for (const { id } of final) if (!(await clock.run(replica.isAlive(id)))) faults.push(`${id} is not seen`);
        }
        const nodes = zookeeper
          .paths()
          .filter((path) => path.startsWith('/site/bms/members/') || path.startsWith('/site/bms/semaphores/switch/'));
        if (nodes.length !== replicas.length) faults.push(`left over: ${nodes.join(' ')}`);
        await group.close();
        if (zookeeper.sessions().length > 0) faults.push('a session was left open');
        expect(faults).toEqual([]);
      }),
      { numRuns: RUNS },
    );
    // The histories did hurt, and work was done in spite of them.
    expect(lostLives).toBeGreaterThan(RUNS / 4);
    expect(leases).toBeGreaterThan(RUNS * 20);
  });
});
