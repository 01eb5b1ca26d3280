/** Writes every bundle to lib/ (npm run bundles). */
import { statSync } from 'node:fs';
import { bundles, writeBundle } from './bundles.ts';

for (const bundle of bundles) {
  await writeBundle(bundle);
  console.log(`lib/${bundle.name}.cjs  ${Math.ceil(statSync(`lib/${bundle.name}.cjs`).size / 1024)} KiB`);
}
