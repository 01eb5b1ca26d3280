/** Writes crds/; `cdk8s import` then makes imports/ of them (npm run crds). */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { crdFiles } from './crds.ts';

mkdirSync('crds', { recursive: true });
for (const file of readdirSync('crds')) rmSync(`crds/${file}`);
for (const [file, content] of crdFiles()) writeFileSync(`crds/${file}`, content);
