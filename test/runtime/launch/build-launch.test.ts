import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUNDLES, buildLaunch, SHELL_PROGRAMS } from '../../../scripts/build-launch.ts';

describe('what images/launch ships', () => {
  let directory: string;
  let sizes: { file: string; bytes: number }[];
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'launch-built-'));
    sizes = await buildLaunch(directory);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('is all there, the shell programs executable', () => {
    expect(readdirSync(directory).sort()).toEqual([...BUNDLES.map(({ file }) => file), ...SHELL_PROGRAMS].sort());
    for (const name of SHELL_PROGRAMS) expect(statSync(join(directory, name)).mode & 0o777).toBe(0o755);
  });
  it('stays within its budgets', () => {
    for (const { file, budgetBytes } of BUNDLES) expect(sizes.find((size) => size.file === file)?.bytes).toBeLessThanOrEqual(budgetBytes);
  });
  it('holds no construct library, no schema library and, but for its own file, no YAML', () => {
    for (const { file } of BUNDLES) {
      const text = readFileSync(join(directory, file), 'utf8');
      expect(text).not.toMatch(/cdk8s-plus|ZodError|node:http/);
      if (file !== 'set-configs-yaml.cjs') expect(text).not.toContain('YAMLParseError');
    }
  });
  for (const shell of ['dash', 'bash'])
    for (const name of SHELL_PROGRAMS) it(`${name} parses under ${shell}`, () => void execFileSync(shell, ['-n', join(directory, name)]));
});
