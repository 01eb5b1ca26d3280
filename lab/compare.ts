/** `npm run lab -- --compare [--runs N] [--case WORDS]`: ours and the stand-in in turns, and rows for docs/lab.md. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { caseName, type DeployCase, type LabFiles, runCase } from './deploy-case.ts';
import { runStandIn, type StandInFiles } from './stand-in-case.ts';

const MIB = 1024 * 1024;

/** Resolves to what failed. */
export async function compare(
  cases: readonly DeployCase[],
  files: StandInFiles,
  runs: number,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const failures: string[] = [];
  const rows: string[] = [];
  for (const one of cases) {
    const name = caseName(one);
    const times = { ours: [] as number[], theirs: [] as number[] };
    const phases = { ours: '', theirs: '' };
    for (let run = 0; run < runs && !signal.aborted; run++) {
      // who comes first takes turns too
      for (const who of run % 2 === 0 ? (['theirs', 'ours'] as const) : (['ours', 'theirs'] as const)) {
        const ran = who === 'ours' ? await ours(one, files, signal) : await runStandIn(one, files, signal);
        console.log(`${name}, ${who === 'ours' ? 'ours' : 'stand-in'}: ${ran.problem ?? `${ran.seconds.toFixed(1)} s (${ran.phases})`}`);
        if (ran.problem !== undefined) failures.push(`${name}, ${who}: ${ran.problem}`);
        else {
          times[who].push(ran.seconds);
          phases[who] = ran.phases;
        }
      }
    }
    const [our, their] = [median(times.ours), median(times.theirs)];
    const title = `${one.firmware.toUpperCase()}, ${one.method === 'iscsi' ? 'iSCSI' : 'direct'}, ${one.layout.replace('-', ' ')}`;
    rows.push(`| ${title} | ${our.toFixed(1)} | ${their.toFixed(1)} | ${(our / their).toFixed(2)} |`);
  }
  console.log(`\n| case, median of ${runs} | ours, s | stand-in, s | ours / stand-in |\n|---|---|---|---|\n${rows.join('\n')}`);
  return failures;
}

async function ours(one: DeployCase, files: LabFiles, signal: AbortSignal): Promise<{ problem?: string; seconds: number; phases: string }> {
  const { problem, seconds, picture } = await runCase(one, files, () => undefined, signal);
  const phases = picture.phases.map(({ name, fromS, toS }) => `${name} ${(toS - fromS).toFixed(1)}`).join(', ');
  return { seconds, phases, ...(problem !== undefined && { problem }) };
}

/** What the stand-in does not make itself is made for it beforehand: a table before the partition image. */
export function standInFiles(files: LabFiles, standInRamdisk: string, folder: string): StandInFiles {
  const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: 'C' };
  const { root } = files.image;
  const tableAndRoot = join(folder, 'table-and-root.raw');
  const content = readFileSync(root);
  writeFileSync(tableAndRoot, '');
  truncateSync(tableAndRoot, content.length + 2 * MIB);
  execFileSync('sfdisk', ['--quiet', tableAndRoot], { env, input: 'label: dos\nstart=1MiB\n', stdio: ['pipe', 'ignore', 'pipe'] });
  const descriptor = openSync(tableAndRoot, 'r+');
  writeSync(descriptor, content, 0, content.length, MIB);
  closeSync(descriptor);
  const uuid = execFileSync('blkid', ['--probe', '--match-tag', 'UUID', '--output', 'value', root], { env, encoding: 'utf8' }).trim();
  return { ...files, standInRamdisk, tableAndRoot, rootParameter: `root=UUID=${uuid}` };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 === 1
    ? (sorted[Math.floor(middle)] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}
