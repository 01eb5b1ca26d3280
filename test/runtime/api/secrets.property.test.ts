/** Whatever happens to a machine, nothing that the API ever says carries a password or a key. */

import { Secret } from 'cdk8s-baremetal-contract/secret';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { deployKeyHash, nodeKind } from 'cdk8s-baremetal-runtime/machine/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Call, type Knobs, World } from '../machine/world.ts';
import { asker } from './ask.ts';

/** What is handed a key, or what follows from it, and may put it into an error. */
const TOLD: readonly Call[] = ['activate', 'identify', 'write', 'done'];
const OTHERS: readonly Call[] = ['ensureOn', 'ensureOff', 'setBootDevice', 'cache', 'release', 'deactivate'];

describe('the API', () => {
  it('never says a secret', async () => {
    let answers = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.constantFrom<Knobs['ramdisk']>('posts', 'posts', 'reports error', 'never boots'),
        fc.subarray([...TOLD], { maxLength: 2 }),
        fc.subarray([...OTHERS], { maxLength: 2 }),
        async (seed, ramdisk, told, others) => {
          // the first one fails until the machine's life gives up
          const failures = Object.fromEntries(
            [...told, ...others].map((call, index) => [call, index === 0 ? Number.POSITIVE_INFINITY : 2]),
          );
          const world = new World({ seed, knobs: { ramdisk, failures, leaks: others.length === 0, bootSeen: seed % 2 === 0 } });
          const machine = await world.clock.run(world.enrol(1));
          const daemon = world.daemon();
          await world.clock.run(daemon.started);
          await world.until(machine, 'available');
          const { store, clock } = world;
          const ask = asker({
            store,
            clock,
            logger: silentLogger,
            machines: daemon.bootView,
            bootSettings: {},
            leaseOfMac: (mac) => ({ mac, address: machine.address }),
            notReady: () => undefined,
          });
          const said: Promise<string>[] = [];
          const watch = store.watch(nodeKind, () => {
            for (const path of ['/v1/nodes', '/v1/nodes/1', '/v1/nodes/bm-1/timeline', '/v1/explain/bm-1', '/v1/nodes/nobody'])
              said.push(ask(path).then(({ text }) => text));
          });
          await clock.run(world.spawn(machine));
          await clock.runUntil(() => false, { limitMs: 3 * 3_600_000 }).catch(() => undefined); // until nothing happens any more
          watch.close();
          const texts = await clock.run(Promise.all(said));
          await world.close();
          const secrets = [...world.knownSecrets].flatMap((secret) => [secret, deployKeyHash(new Secret(secret))]);
          for (const secret of secrets) expect(texts.find((text) => text.includes(secret))).toBeUndefined();
          answers += texts.length;
        },
      ),
      // a whole life of a machine costs as much as some 50 runs of a codec
      { numRuns: Math.max(25, Math.ceil(Number(process.env.FUZZ_RUNS ?? 0) / 50)) },
    );
    expect(answers).toBeGreaterThan(1_000);
  });
});
