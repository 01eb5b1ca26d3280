/** What is committed and generated must be what the sources generate now. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { crdFiles } from '../../scripts/crds.ts';
import { type Manifest, schemaProblems } from '../support/kubernetes-schema.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const filesOf = (folder: string): Record<string, string> =>
  Object.fromEntries(readdirSync(folder).map((file) => [file, readFileSync(`${folder}/${file}`, 'utf8')]));

describe('generated files are fresh', () => {
  const folder = temporaryFolder();
  beforeAll(folder.create);
  afterAll(folder.remove);

  it('dist/: npx cdk8s synth', () => {
    execFileSync(process.execPath, ['--import', 'tsx', 'src/main.ts'], { env: { ...process.env, CDK8S_OUTDIR: folder.path('dist') } });
    expect(filesOf('dist')).toEqual(filesOf(folder.path('dist')));
  });

  it('crds/: npm run crds', () => {
    expect(filesOf('crds')).toEqual(Object.fromEntries(crdFiles()));
  });

  it('imports/: npm run crds', () => {
    const crds = readdirSync('crds').map((file) => `${process.cwd()}/crds/${file}`);
    for (const crd of crds) {
      execFileSync('node_modules/.bin/cdk8s', [
        '--check-upgrade=false',
        'import',
        crd,
        '--language',
        'typescript',
        '--no-save',
        '--output',
        folder.path('imports'),
      ]);
    }
    expect(filesOf('imports')).toEqual(filesOf(folder.path('imports')));
  });

  it('dist/ holds manifests only, every field known to Kubernetes 1.36', () => {
    const files = filesOf('dist');
    expect(Object.keys(files).filter((file) => !file.endsWith('.yaml'))).toEqual([]);
    const manifests = Object.values(files).flatMap((text) =>
      [parseAllDocuments(text)].flat().map((document) => document.toJS() as Manifest),
    );
    expect(manifests.length).toBeGreaterThan(0);
    expect(manifests.flatMap(schemaProblems)).toEqual([]);
  });
});
