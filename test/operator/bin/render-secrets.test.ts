import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { renderProgram } from 'cdk8s-baremetal-contract/onecloud/render-secrets';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/temporary-folder.ts';

describe('004-12: the program that puts passwords into configurations', () => {
  const folder = temporaryFolder();
  beforeEach(() => {
    folder.create();
    for (const name of ['templates', 'secrets', 'config']) mkdirSync(folder.path(name));
    writeFileSync(folder.path('secrets/password'), 'p@ss "word"\n');
    mkdirSync(folder.path('secrets/..data'));
  });
  afterEach(folder.remove);

  const run = (): { status: number | null; stdout: string; stderr: string } => {
    const { variables } = renderProgram;
    const env = {
      ...process.env,
      [variables.templates]: folder.path('templates'),
      [variables.secrets]: folder.path('secrets'),
      [variables.output]: folder.path('config'),
    };
    return spawnSync(process.execPath, ['--import', 'tsx', 'src/operator/bin/render-secrets.ts'], { env, encoding: 'utf8' });
  };

  it('writes every file whole, readable by its group alone', () => {
    writeFileSync(folder.path('templates/glance.conf'), 'sql: "mysql://glance:@{secret:password|url}@db/glance"\n');
    expect(run()).toMatchObject({ status: 0, stdout: '' });
    expect(readFileSync(folder.path('config/glance.conf'), 'utf8')).toBe('sql: "mysql://glance:p%40ss%20%22word%22@db/glance"\n');
    expect(statSync(folder.path('config/glance.conf')).mode & 0o777).toBe(0o440);
    expect(readdirSync(folder.path('config'))).toEqual(['glance.conf']);
  });

  it('writes nothing when one file is wrong, ends with 78 and tells no secret', () => {
    writeFileSync(folder.path('templates/a.conf'), 'ok: "@{secret:password|url}"\n');
    writeFileSync(folder.path('templates/b.conf'), 'wrong: "@{secret:pasword|url}"\n');
    const { status, stderr } = run();
    expect(status).toBe(78);
    expect(stderr).toContain('RENDER_SECRET_MISSING: b.conf:1 wants the secret pasword');
    expect(stderr).not.toContain('p@ss');
    expect(readdirSync(folder.path('config'))).toEqual([]);
  });
});
