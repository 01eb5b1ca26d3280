/** Says what a synthesis made and what it needs, for whoever just ran `npm run synth`. */
import { readdirSync, readFileSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';
import { clusterNeeds, type Manifest } from './cluster-needs.ts';

const all: Manifest[] = [];
for (const file of readdirSync('dist').sort()) {
  const documents = [parseAllDocuments(readFileSync(`dist/${file}`, 'utf8'))].flat();
  const manifests = documents.map((document) => document.toJS() as Manifest);
  console.log(`\ndist/${file}: ${manifests.length} objects`);
  for (const { kind, metadata } of manifests) console.log(`  ${kind.padEnd(22)} ${metadata.name}`);
  all.push(...manifests);
}

console.log('\nThey name, and do not make:');
for (const { what, without, commands } of clusterNeeds(all)) {
  console.log(`  ${what}\n    without: ${without}`);
  for (const command of commands) console.log(`    ${command}`);
}
const namespaces = [...new Set(all.filter(({ kind }) => kind === 'Namespace').map(({ metadata }) => metadata.name))];
if (namespaces.length > 0) console.log(`  (Secrets need their namespace first: kubectl create namespace ${namespaces.join(' ')})`);
console.log('\nThen: kubectl apply -f crds/ && kubectl apply -f dist');
