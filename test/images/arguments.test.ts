/** What the builders and the lab say to arguments that are wrong: before they fetch, build or start anything. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';

const run = (program: string, ...args: string[]) =>
  spawnSync(process.execPath, ['--import', 'tsx', program, ...args], { encoding: 'utf8' });

describe.each(['images/ramdisk/build.ts', 'images/disk-image/build.ts', 'lab/main.ts'])('%s', (program) => {
  it('names an option that there is not, and says which there are', () => {
    const { status, stderr } = run(program, '--nonsense');
    expect([status, stderr]).toEqual([2, expect.stringMatching(/^Unknown option '--nonsense'\n\nnpm run /)]);
  });

  it('says for --help which there are', () => {
    const { status, stdout, stderr } = run(program, '--help');
    expect([status, stdout, stderr]).toEqual([0, expect.stringMatching(/^npm run /), '']);
  });
});

it.each([
  ['images/ramdisk/build.ts', '--arch', 'mips'],
  ['images/disk-image/build.ts', '--arch', 'mips'],
  ['lab/main.ts', '--bmc', 'simulatd'],
  ['lab/main.ts', '--runs', 'many'],
])('%s %s %s is refused', (program, option, value) => {
  const { status, stderr } = run(program, option, value);
  expect([status, stderr]).toEqual([2, expect.stringContaining(`${option} ${value}: `)]);
});
