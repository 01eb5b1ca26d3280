/** Writes crds/ from the contract's schemas, and imports/ from crds/ (npm run crds). */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { crdFiles } from './crds.ts';

for (const folder of ['crds', 'imports']) {
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(folder)) rmSync(`${folder}/${file}`);
}
for (const [file, content] of crdFiles()) {
  writeFileSync(`crds/${file}`, content);
  const options = ['--language', 'typescript', '--no-save', '--output', 'imports'];
  execFileSync('node_modules/.bin/cdk8s', ['--check-upgrade=false', 'import', `crds/${file}`, ...options], { stdio: 'inherit' });
}
