/**
 * How properties are tried: in CI always from the same seed, so that a change passes or fails by what it changed; everywhere
 * else from a new one. FUZZ_RUNS (`npm run test:fuzz`) also lengthens the properties that name no number of runs.
 */
import fc from 'fast-check';

const fuzzRuns = Number(process.env.FUZZ_RUNS ?? 0);
fc.configureGlobal({
  ...(process.env.PROPERTY_SEED ? { seed: Number(process.env.PROPERTY_SEED) } : {}),
  ...(fuzzRuns > 0 ? { numRuns: Math.max(100, Math.ceil(fuzzRuns / 20)) } : {}),
});
