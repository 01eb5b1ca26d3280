/** Says what a synthesis made, for whoever just ran `npm run synth`. */
import { readdirSync, readFileSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

for (const file of readdirSync('dist').sort()) {
  const documents = [parseAllDocuments(readFileSync(`dist/${file}`, 'utf8'))].flat();
  const manifests = documents.map((document) => document.toJS() as Manifest);
  console.log(`\ndist/${file}: ${manifests.length} objects`);
  for (const { kind, metadata } of manifests) console.log(`  ${kind.padEnd(22)} ${metadata.name}`);
}
console.log('\nTo run it on a cluster: kubectl apply -f crds/ && kubectl apply -f dist');
