/** The peer of bench/synth.ts: prints given objects with the `yaml` package, as cdk8s does, and nothing else. */
import { readFileSync, writeFileSync } from 'node:fs';
import { stringify } from 'yaml';

const [objects = '', target = ''] = process.argv.slice(2);
const manifests: unknown[] = JSON.parse(readFileSync(objects, 'utf8'));
writeFileSync(target, manifests.map((manifest) => stringify(manifest)).join('---\n'));
console.log(process.resourceUsage().maxRSS);
