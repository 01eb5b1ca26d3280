import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BUNDLES, buildLaunch, SHELL_PROGRAMS } from '../../../scripts/build-launch.ts';

const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;
if (!hasSystemd) console.warn('test/runtime/launch: systemd-analyze is missing (package systemd): the unit is not verified');

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
  it.skipIf(!hasSystemd)('the systemd unit is one', () => {
    const unit = readFileSync(new URL('../../../images/launch/kolla-service@.service', import.meta.url), 'utf8');
    const file = join(directory, 'kolla-service@nova-api.service');
    writeFileSync(file, unit.replace('/opt/launch/kolla_start', '/bin/true'));
    expect(spawnSync('systemd-analyze', ['verify', file], { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  });
});
