/** What the benchmarks of the boot plane share: taking turns, medians, CPU of a process tree, Markdown. */
import { readdirSync, readFileSync } from 'node:fs';

/** Of /proc/PID/stat; 100 on every Linux that Debian builds. */
const TICKS_PER_SECOND = 100;

export interface Sample {
  /** Higher is better. */
  readonly rate: number;
  readonly cpu?: number;
}

/**
 * Each contender once per round, so that a busy moment of the machine does not hit one of them alone; a first round only warms up, unless `warmUp` is false. Undefined, said
 * aloud by `measure`, when a run failed: a contender that fails in a round is not in the result.
 */
export async function takeTurns<T extends { readonly name: string }>(
  contenders: readonly T[],
  rounds: number,
  measure: (one: T, round: number) => Promise<Sample | undefined>,
  { warmUp = true }: { readonly warmUp?: boolean } = {},
): Promise<ReadonlyMap<string, Sample>> {
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]));
  for (let round = warmUp ? 0 : 1; round <= rounds; round++)
    for (const one of contenders) {
      const sample = await measure(one, round);
      if (!sample) samples.delete(one.name);
      else if (round > 0) samples.get(one.name)?.push(sample);
    }
  return new Map(
    [...samples].map(([name, list]) => [
      name,
      { rate: median(list.map(({ rate }) => rate)), cpu: median(list.map(({ cpu = Number.NaN }) => cpu)) },
    ]),
  );
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** A row of name, one cell each, and ours against the best of the others. */
export function row(title: string, names: readonly string[], results: ReadonlyMap<string, Sample>, digits = 0): string {
  const cells = names.map((name) => {
    const result = results.get(name);
    if (!result) return '–';
    const cpu = result.cpu === undefined || Number.isNaN(result.cpu) ? '' : ` (${result.cpu.toFixed(1)})`;
    return `${result.rate.toFixed(digits)}${cpu}`;
  });
  const others = names.filter((name) => name !== 'ours').flatMap((name) => results.get(name)?.rate ?? []);
  const ours = results.get('ours')?.rate ?? Number.NaN;
  return `| ${title} | ${cells.join(' | ')} | ${others.length > 0 ? (ours / Math.max(...others)).toFixed(2) : '–'} |`;
}

export function head(title: string, names: readonly string[]): string {
  return `| ${title} | ${names.join(' | ')} | ours / best |\n|${'---|'.repeat(names.length + 2)}`;
}

/** User and system time of a process, of the children that it has waited for, and of those that it has now (forking servers). */
export function cpuSeconds(pid: number | undefined): number {
  let ticks = 0;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const [own, rest] = statOf(entry);
      if (own === pid || Number(rest[1]) === pid) ticks += rest.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
    } catch {
      // it has just ended
    }
  }
  return ticks / TICKS_PER_SECOND;
}

/** From the third field of proc(5) on: state, parent … */
function statOf(pid: string): [number, readonly string[]] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return [Number(pid), text.slice(text.lastIndexOf(')') + 2).split(' ')];
}
