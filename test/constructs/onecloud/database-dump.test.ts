/** The script of the dump's Job, with a stand-in for the client. */
import { spawnSync } from 'node:child_process';
import { readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { databaseDumpScript } from '../../../src/constructs/onecloud/database-dump.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

describe('the dump before an upgrade', () => {
  const programs = temporaryFolder();
  const dumps = temporaryFolder();
  beforeAll(() => {
    programs.create();
    dumps.create();
    writeFileSync(programs.path('mariadb-dump'), '#!/bin/bash\necho "$TABLES"\necho "-- Dump completed"\n', { mode: 0o755 });
  });
  afterAll(() => {
    programs.remove();
    dumps.remove();
  });

  const dump = (file: string, tables: string, keep: number): void => {
    const env = { ...process.env, PATH: `${programs.path('.')}:${process.env.PATH}`, TABLES: tables };
    const args = ['-c', databaseDumpScript, 'dump', programs.path('login'), dumps.path('.'), file, String(keep), 'glance'];
    const { status, stderr } = spawnSync('bash', args, { env, encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  };
  const contents = (): string[] =>
    readdirSync(dumps.path('.')).map(
      (file) => spawnSync('gzip', ['-dc', dumps.path(file)], { encoding: 'utf8' }).stdout.split('\n')[0] ?? '',
    );

  it('004-5: of a cluster that was made anew takes no earlier one’s place, and the oldest go', () => {
    const file = 'default-r002-v1.sql.gz'; // revisions begin anew with the object
    dump(file, 'good', 2);
    utimesSync(dumps.path(file), 1_000_000_000, 1_000_000_000);
    dump(file, 'spoiled', 2);
    expect(contents().sort()).toEqual(['good', 'spoiled']);
    expect(spawnSync('gzip', ['-dc', dumps.path(file)], { encoding: 'utf8' }).stdout).toContain('spoiled'); // as the history says
    dump('default-r003-v1.sql.gz', 'third', 2);
    expect(contents().sort()).toEqual(['spoiled', 'third']);
  });
});
