/** Names of Lease objects: `<scope>.<kind>.<subject>`, or with a hash where the subject is no DNS name. Scopes and kinds have no dot. */
import { createHash } from 'node:crypto';
import { DNS_SUBDOMAIN } from 'cdk8s-baremetal-contract/names';
import type { LeaseKind } from './lease-source.ts';

/** 253 less a scope and a kind of 63 each and two dots, rounded down. */
const LONGEST_PLAIN = 120;
const HASHED = 'h--';

export function leaseName(scope: string, kind: LeaseKind, subject: string): string {
  const plain = subject.length <= LONGEST_PLAIN && DNS_SUBDOMAIN.test(subject) && !subject.startsWith(HASHED);
  if (plain) return `${scope}.${kind}.${subject}`;
  const readable = subject
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 60)
    .replace(/^-+|-+$/g, '');
  const hash = createHash('sha256').update(subject).digest('hex').slice(0, 40);
  return `${scope}.${kind}.${HASHED}${readable && `${readable}--`}${hash}`;
}
