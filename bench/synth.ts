/**
 * Synthesis against printing: the whole of `node --import tsx app.ts` for the example and for generated sites, beside a process
 * that only prints the same objects with the `yaml` package. Run: npm run bench:synth
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const RUNS = 5;

interface Measure {
  readonly seconds: number;
  readonly peakMiB: number;
}

/** One process from start to end; it prints its own peak memory (KiB) last. */
function measure(args: readonly string[], env: Record<string, string>): Measure {
  const start = performance.now();
  const output = execFileSync(process.execPath, ['--import', 'tsx', ...args], { env: { ...process.env, ...env }, encoding: 'utf8' });
  return { seconds: (performance.now() - start) / 1000, peakMiB: Number(output.trim().split('\n').at(-1)) / 1024 };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const folder = mkdtempSync(join(tmpdir(), 'bench-synth-'));
try {
  console.log('| site | objects | synth s | print s | ratio | synth MiB | print MiB |');
  console.log('|---|---|---|---|---|---|---|');
  for (const [name, machines] of [
    ['the example', 0],
    ['1,000 machines', 1000],
    ['10,000 machines', 10_000],
  ] as const) {
    const objects = join(folder, `${machines}.json`);
    const out = join(folder, `dist-${machines}`);
    const env = { MACHINES: String(machines), CDK8S_OUTDIR: out };
    writeFileSync(
      objects,
      execFileSync(process.execPath, ['--import', 'tsx', 'bench/synth-app.ts', '--objects'], {
        env: { ...process.env, ...env },
        maxBuffer: 2 ** 30,
      }),
    );
    const pairs = Array.from({ length: RUNS }, () => ({
      synth: measure(['bench/synth-app.ts'], env),
      print: measure(['bench/synth-print.ts', objects, join(folder, 'printed.yaml')], {}),
    }));
    const synth = median(pairs.map((pair) => pair.synth.seconds));
    const print = median(pairs.map((pair) => pair.print.seconds));
    const ratio = median(pairs.map((pair) => pair.synth.seconds / pair.print.seconds));
    const count = JSON.parse(execFileSync('cat', [objects], { encoding: 'utf8', maxBuffer: 2 ** 30 })).length;
    const memory = [median(pairs.map((pair) => pair.synth.peakMiB)), median(pairs.map((pair) => pair.print.peakMiB))].map(Math.round);
    console.log(`| ${name} | ${count} | ${synth.toFixed(2)} | ${print.toFixed(2)} | ${ratio.toFixed(2)} | ${memory.join(' | ')} |`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
