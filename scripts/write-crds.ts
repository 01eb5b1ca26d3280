/** Writes crds/ from the contract's schemas. `cdk8s import` then makes imports/ of them (npm run crds). */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { bareMetalNode } from 'cdk8s-baremetal-contract/crd/bare-metal-node';
import { stringify } from 'yaml';

const folder = new URL('../crds/', import.meta.url);
mkdirSync(folder, { recursive: true });
for (const file of readdirSync(folder)) rmSync(new URL(file, folder));
// YAML 1.1, as kubectl reads it: a plain "on" would be true
for (const crd of [bareMetalNode]) {
  const manifest = crd.manifest();
  const [group] = crd.apiVersion.split('/');
  writeFileSync(new URL(`${group}_${crd.plural}.yaml`, folder), stringify(manifest, { lineWidth: 120, version: '1.1' }));
}
