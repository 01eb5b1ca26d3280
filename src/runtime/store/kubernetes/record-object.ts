/**
 * A record as a BmsRecord object, and back.
 *
 *     metadata.name    <scope>.<kind>.<id>, or <scope>.<kind>.h--<readable part>--<hash> for an id that is no DNS name
 *     metadata.labels  baremetal.bms.io/scope and /record-kind: what lists and watches select by
 *     spec             kind, id, value; marks: eight characters for each of the last four writes, newest first
 *
 * A scope has no dot and a kind has none, so no two records share a name. A record's version is `<resourceVersion>.<uid>.<marks>`: the first two say
 * which state of which object it is, the marks are what the next write has to carry on.
 */
import { createHash } from 'node:crypto';
import { bmsRecord } from 'cdk8s-baremetal-contract/crd/index';
import { API_GROUP, DNS_SUBDOMAIN } from 'cdk8s-baremetal-contract/names';
import type { RawRecord } from '../transfer.ts';
import { kubernetesStoreErrors } from './errors.ts';

export const MARK_LENGTH = 8; // base64url, 48 bits
export const MARKS = 4;
export const label = { scope: `${API_GROUP}/scope`, kind: `${API_GROUP}/record-kind` } as const;

/** 253 less a scope and a kind of 63 each and two dots, rounded down. */
const LONGEST_PLAIN_ID = 120;
const HASHED = 'h--';
const VERSION = /^([1-9]\d{0,18})\.([0-9a-f-]{1,64})\.([A-Za-z0-9_-]{0,64})$/;

/** Which records are meant: those of one pair of management nodes. */
export interface Place {
  readonly namespace: string;
  readonly scope: string;
}

/** One object as it was read. */
export interface RecordObject extends RawRecord {
  readonly uid: string;
  /** Rises with each change in the whole cluster: a 64-bit number in etcd, and comparable by Kubernetes' word since 1.35. */
  readonly revision: bigint;
  readonly marks: string;
}

export interface Version {
  readonly resourceVersion: string;
  readonly uid: string;
  readonly marks: string;
}

export function objectName(scope: string, kind: string, id: string): string {
  const plain = id.length <= LONGEST_PLAIN_ID && DNS_SUBDOMAIN.test(id) && !id.startsWith(HASHED);
  if (plain) return `${scope}.${kind}.${id}`;
  const readable = id
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 60)
    .replace(/-$/, '');
  const hash = createHash('sha256').update(id).digest('hex').slice(0, 40);
  return `${scope}.${kind}.${HASHED}${readable === '' ? '' : `${readable}--`}${hash}`;
}

/** The records of a kind, or of all kinds. */
export function selector(scope: string, kind?: string): string {
  return `${label.scope}=${scope}${kind === undefined ? '' : `,${label.kind}=${kind}`}`;
}

/** Undefined for a version that this store never gave: it fits no record. */
export function parseVersion(version: string): Version | undefined {
  const [, resourceVersion, uid, marks] = VERSION.exec(version) ?? [];
  if (resourceVersion === undefined || uid === undefined || marks === undefined) return undefined;
  return { resourceVersion, uid, marks };
}

export interface Written {
  readonly kind: string;
  readonly id: string;
  readonly json: string;
  readonly marks: string;
  /** What is replaced; absent for a new record. */
  readonly over?: Version;
}

/** The body of a POST or PUT. */
export function toObject({ scope, namespace }: Place, { kind, id, json, marks, over }: Written): string {
  const metadata = {
    name: objectName(scope, kind, id),
    namespace,
    labels: { [label.scope]: scope, [label.kind]: kind },
    // One empty entry says: keep no books of who wrote which field, which nobody would read.
    managedFields: [{}],
    ...(over && { resourceVersion: over.resourceVersion, uid: over.uid }),
  };
  const head = JSON.stringify({ apiVersion: bmsRecord.apiVersion, kind: bmsRecord.kind, metadata });
  // the value is JSON already, and is sent as it is
  return `${head.slice(0, -1)},"spec":{"kind":${JSON.stringify(kind)},"id":${JSON.stringify(id)},"marks":${JSON.stringify(marks)},"value":${json}}}`;
}

/** @throws STORE_KUBERNETES_OBJECT for what is none of ours: a copy under another name, something made by hand */
export function fromObject(scope: string, object: unknown): RecordObject {
  const { metadata, spec } = fieldsOf(object);
  const { name, uid, resourceVersion } = fieldsOf(metadata);
  const { kind, id, marks, value } = fieldsOf(spec);
  const refuse = (reason: string): Error => kubernetesStoreErrors.STORE_KUBERNETES_OBJECT({ name: String(name), reason });
  if (typeof uid !== 'string' || typeof resourceVersion !== 'string' || !/^\d{1,19}$/.test(resourceVersion))
    throw refuse('it has no uid, or no resourceVersion that is a number');
  if (typeof kind !== 'string' || typeof id !== 'string' || value === undefined) throw refuse('it lacks spec.kind, spec.id or spec.value');
  if (name !== objectName(scope, kind, id)) throw refuse(`the ${kind} ${id} would have another name`);
  const known = typeof marks === 'string' && /^[A-Za-z0-9_-]{0,64}$/.test(marks) ? marks : '';
  const version = `${resourceVersion}.${uid}.${known}`;
  return { kind, id, version, json: JSON.stringify(value), uid, revision: BigInt(resourceVersion), marks: known };
}

/** An object's fields, none for what is no object. */
export function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** Where in `marks` this mark stands: 0 is the last write; -1: not there. */
export function writesSince(mark: string, marks: string): number {
  for (let at = 0; at * MARK_LENGTH < marks.length; at++) if (marks.startsWith(mark, at * MARK_LENGTH)) return at;
  return -1;
}
