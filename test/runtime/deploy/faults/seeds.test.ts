/** SEEDS gives the number of deployments, FIRST_SEED where they begin: SEEDS=200 npx vitest run test/runtime/deploy/faults is the full form. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { diskContent } from '../image/support.ts';
import { deployAmongFaults, type Ending, IMAGE_BYTES, type Mutation } from './deployment.ts';

const SEEDS = Number(process.env.SEEDS ?? 40);
const FIRST = Number(process.env.FIRST_SEED ?? 1);
/** Enough that each old fault is met by many. */
const MUTANT_SEEDS = 60;

describe('a deployment among faults', () => {
  const folder = temporaryFolder();
  const content = diskContent(IMAGE_BYTES, 11).fill(0x5a, 0, 4096);
  let runs = 0;
  const run = async (seed: number, mutation?: Mutation): Promise<Ending> => {
    const path = folder.path(`image-${runs}`);
    writeFileSync(path, content);
    const cache = folder.path(`cache-${runs++}`);
    mkdirSync(cache);
    return deployAmongFaults(`deployment ${seed}`, path, cache, mutation);
  };
  beforeAll(() => folder.create());
  afterAll(() => folder.remove());

  it(`002-12: ${SEEDS} histories from seed ${FIRST}: the disk holds the image or the deployment says failed; never two writers`, async () => {
    const endings = { done: 0, failed: 0, hangs: 0 };
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const { state, reason, violations, told } = await run(seed);
      const history = `seed ${seed}: ${told.join(', ')}; ${state} ${reason}`;
      expect(violations, history).toEqual([]);
      expect(state, history).not.toBe('hangs');
      if (state === 'failed') expect(reason, history).toMatch(/\S/);
      endings[state]++;
    }
    // a suite in which everything fails, or nothing ever does, would prove nothing
    expect(endings.done).toBeGreaterThan(SEEDS / 2);
    expect(endings.failed).toBeGreaterThan(0);
  }, 600_000);

  it.each([
    ['N8: a queue in memory', 'queue in memory', ({ state }: Ending) => state === 'hangs'],
    ['N14: no checksum', 'no checksum', ({ violations }: Ending) => violations.some((text) => text.includes('does not hold the image'))],
    ['N10: no fence', 'no fence', ({ violations }: Ending) => violations.some((text) => text.includes('wrote after session'))],
  ] as const)(
    '%s, put back, makes a seed fail',
    async (_, mutation, found) => {
      let failing = 0;
      for (let seed = 1; seed <= MUTANT_SEEDS && failing === 0; seed++) if (found(await run(seed, mutation))) failing++;
      expect(failing).toBeGreaterThan(0);
    },
    600_000,
  );
});
