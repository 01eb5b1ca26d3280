import { createHash } from 'node:crypto';

/** SHA-256 of what a pod is configured with, for the annotation that rolls it when this changes. */
export function checksum(data: readonly Readonly<Record<string, string>>[]): string {
  const sorted = data.map((entries) => Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex');
}
