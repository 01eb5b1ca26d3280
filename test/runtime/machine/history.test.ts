/** SEEDS (or FUZZ_RUNS) gives the number of histories, FIRST_SEED where they begin: SEEDS=10000 npx vitest run test/runtime/machine/history.test.ts */
import { describe, expect, it } from 'vitest';
import { liveHistory } from './history.ts';

const RUNS = Number(process.env.SEEDS ?? process.env.FUZZ_RUNS ?? 300);
const FIRST = Number(process.env.FIRST_SEED ?? 0);

describe('random histories of verbs, deaths, partitions, pauses and clocks that disagree', () => {
  it(`${RUNS} histories come to rest, and then to a free and clean machine`, async () => {
    const states = new Set<string>();
    const verbs = new Set<string>();
    let deaths = 0;
    for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
      const told = await liveHistory(seed).catch((error: unknown) => {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
      });
      for (const state of told.states) states.add(state);
      for (const verb of told.verbs) verbs.add(verb);
      deaths += told.deaths;
    }
    // The mix is worth its time only while it comes everywhere.
    if (RUNS >= 300) {
      expect(deaths).toBeGreaterThan(RUNS / 10);
      expect([...states].sort()).toEqual(expect.arrayContaining(['cleaning', 'deploying', 'error', 'inspecting', 'rescue', 'unrescuing']));
      expect(verbs.size).toBeGreaterThanOrEqual(16);
    }
  }, 3_600_000);
});
