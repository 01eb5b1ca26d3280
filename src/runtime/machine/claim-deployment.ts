/**
 * The use of a deployment key: by compare-and-swap on the machine's record, so that any replica may accept the ramdisk's POST and of
 * two POSTs with one key only one is accepted. The machine's owner sees the record change and goes on from there.
 */
import { Secret } from 'cdk8s-baremetal-contract/secret';
import type { Clock } from '../core/clock.ts';
import { isoTime } from '../core/iso-time.ts';
import type { AcceptReport, ClaimDeployment, ClaimOutcome, ClaimRequest, RamdiskReport, ReportOutcome } from '../deploy/helper/index.ts';
import type { Store, Stored } from '../store/index.ts';
import { keyMatches } from './deploy-key.ts';
import { directTokenHash } from './direct-desk.ts';
import { type NodeRecord, nodeKind } from './node-record.ts';
import { findNodeByNumber } from './nodes.ts';
import { mayHavePosted, sessionOf, withSession } from './ramdisk-session.ts';
import { defaultSettings, type MachineSettings } from './settings.ts';
import { withEvent } from './timeline.ts';
import { cleanText } from './transition.ts';

export interface ClaimOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly settings?: Pick<MachineSettings, 'addressCheck'>;
  /** For tests that put an old fault back. */
  readonly policy?: ClaimPolicy;
}

/** What decides on a POST, and what it changes: both pure. */
export interface ClaimPolicy {
  refuse(node: NodeRecord, request: ClaimRequest, settings: Pick<MachineSettings, 'addressCheck'>, now: number): Refusal | undefined;
  accepted(node: NodeRecord, request: ClaimRequest, now: number): NodeRecord | undefined;
}
type Refusal = Exclude<ClaimOutcome, { kind: 'accepted' }>;

export const claimPolicy: ClaimPolicy = { refuse, accepted };

export function claimDeployment({ store, clock, settings = defaultSettings, policy = claimPolicy }: ClaimOptions): ClaimDeployment {
  return async (request) => {
    const outcome = await decide<Refusal>(store, request.id, (node) => {
      const now = clock.now();
      const refusal = policy.refuse(node, request, settings, now);
      return refusal === undefined
        ? { value: policy.accepted(node, request, now) }
        : { refusal, value: refused(node, request.remoteAddress, refusal, now) };
    });
    return outcome === 'unknown' ? { kind: 'unknown-node' } : (outcome?.refusal ?? { kind: 'accepted' });
  };
}

/** The same for ramdisks that export no disk: inspection and rescue. */
export function acceptReport({ store, clock, settings = defaultSettings }: Omit<ClaimOptions, 'policy'>): AcceptReport {
  return async (report) => {
    let authorizedKeys: readonly string[] = [];
    const outcome = await decide<Exclude<ReportOutcome, { kind: 'accepted' }>>(store, report.id, (node) => {
      const now = clock.now();
      authorizedKeys = node.authorizedKeys ?? [];
      const refusal = refuseReport(node, report, settings, now);
      return refusal === undefined
        ? { value: acceptedReport(node, report, now) }
        : { refusal, value: refused(node, report.remoteAddress, refusal, now) };
    });
    if (outcome === 'unknown') return { kind: 'unknown-node' };
    return outcome?.refusal ?? { kind: 'accepted', authorizedKeys };
  };
}

/** Decides on the newest record and stores what follows from it; again from the start while others win. */
async function decide<R>(
  store: Store,
  number: number,
  judge: (node: NodeRecord) => { readonly refusal?: R; readonly value: NodeRecord | undefined },
): Promise<{ readonly refusal?: R } | 'unknown'> {
  let record = await findNodeByNumber(store, number);
  while (record !== undefined) {
    const { refusal, value } = judge(record.value);
    const verdict = refusal === undefined ? {} : { refusal };
    if (value === undefined) return verdict;
    const result: Awaited<ReturnType<typeof store.update<NodeRecord>>> = await store.update(
      nodeKind,
      { id: record.id, value },
      record.version,
    );
    if (result.outcome === 'stored') return verdict;
    record = result.current satisfies Stored<NodeRecord> | undefined;
  }
  return 'unknown';
}

/** The key first: who does not have it learns nothing else about the machine. */
function refuse(
  node: NodeRecord,
  request: ClaimRequest,
  settings: Pick<MachineSettings, 'addressCheck'>,
  now: number,
): Refusal | undefined {
  const refusal = refuseKey(node, request.key, now);
  if (refusal !== undefined) return refusal;
  const wrongAddress = refuseAddress(node, request, settings);
  if (wrongAddress !== undefined) return { kind: 'wrong-address', reason: wrongAddress };
  const iqn = sessionOf(node)?.iqn ?? '';
  if (request.iqn !== iqn) return { kind: 'wrong-target', expected: iqn };
  const method = methodOf(node);
  // An error is heard in either form.
  if (request.error === undefined && (request.disk !== undefined) !== (method === 'direct'))
    return { kind: 'wrong-method', expected: method };
  return undefined;
}

/** Only a deployment may be the ramdisk's own work: a cleaning is always the deploy-helper's. */
function methodOf({ ramdisk, deployment }: NodeRecord): 'iscsi' | 'direct' {
  return ramdisk === undefined && deployment?.image.method === 'direct' ? 'direct' : 'iscsi';
}

function refuseReport(
  node: NodeRecord,
  report: RamdiskReport,
  settings: Pick<MachineSettings, 'addressCheck'>,
  now: number,
): Exclude<ReportOutcome, { kind: 'accepted' }> | undefined {
  const refusal = refuseKey(node, report.key, now);
  if (refusal !== undefined) return refusal;
  const address = report.remoteAddress;
  const wrongAddress = refuseAddress(node, { address, remoteAddress: address }, settings);
  if (wrongAddress !== undefined) return { kind: 'wrong-address', reason: wrongAddress };
  const purpose = node.ramdisk?.purpose ?? 'deploy';
  if (purpose !== 'inspect' && purpose !== 'rescue') return { kind: 'wrong-purpose', purpose };
  if (purpose === 'inspect' && report.facts === undefined && report.error === undefined) return { kind: 'facts-missing' };
  return undefined;
}

function refuseKey(
  node: NodeRecord,
  text: string,
  now: number,
): Extract<Refusal, { kind: 'wrong-key' | 'used' | 'not-waiting' | 'expired' }> | undefined {
  const session = sessionOf(node);
  const key = new Secret(text);
  // Both comparisons always run, so that the time does not tell which hash is there.
  const unused = keyMatches(key, session?.keyHash);
  const used = keyMatches(key, session?.usedKeyHash);
  if (session === undefined || (!unused && !used)) return { kind: 'wrong-key' };
  if (used) return { kind: 'used' };
  if (!mayHavePosted(node)) return { kind: 'not-waiting', state: node.state };
  if (now >= session.expiresAt) return { kind: 'expired', at: isoTime(session.expiresAt) };
  return undefined;
}

/** N4: what the ramdisk names is where we would log in and write, so it must be where it really is. */
function refuseAddress(
  node: NodeRecord,
  request: Pick<ClaimRequest, 'address' | 'remoteAddress'>,
  { addressCheck }: Pick<MachineSettings, 'addressCheck'>,
): string | undefined {
  if (request.address !== request.remoteAddress) return `the address ${request.address} is not the sender's, ${request.remoteAddress}`;
  const allowed = sessionOf(node)?.allowedAddress;
  if (allowed === undefined) return addressCheck === 'source' ? undefined : 'no lease of this machine is known';
  return allowed === request.address ? undefined : `the address ${request.address} is not the lease of this machine, ${allowed}`;
}

function accepted(node: NodeRecord, request: ClaimRequest, now: number): NodeRecord | undefined {
  const session = sessionOf(node);
  if (session === undefined) return undefined;
  const { address, disk } = request;
  const { port, lun } = disk === undefined ? request : { port: 0, lun: 0 };
  const outcome =
    request.error === undefined
      ? { claim: { address, port, lun, at: now, ...(disk && { disk }) } }
      : { reportedError: cleanText(request.error) || 'an error without a message' };
  const type = request.error === undefined ? 'deploy POST accepted' : 'deploy POST with an error';
  return withEvent(withToken(spent(node, outcome), request), { type, detail: `from ${address}` }, now);
}

/** The key is only known here: what it is good for from now on is noted by its hash. */
function withToken(node: NodeRecord, { disk, key }: ClaimRequest): NodeRecord {
  if (disk === undefined || node.deployment === undefined) return node;
  return { ...node, deployment: { ...node.deployment, direct: { tokenHash: directTokenHash(new Secret(key)) } } };
}

function acceptedReport(node: NodeRecord, { error, facts, remoteAddress }: RamdiskReport, now: number): NodeRecord | undefined {
  if (node.ramdisk === undefined) return undefined;
  const outcome =
    error === undefined
      ? { claim: { address: remoteAddress, port: 0, lun: 0, at: now } }
      : { reportedError: cleanText(error) || 'an error without a message' };
  const reported = spent(node, outcome);
  const type = error === undefined ? 'ramdisk report accepted' : 'ramdisk report with an error';
  const withFacts =
    facts === undefined || reported.ramdisk === undefined ? reported : { ...reported, ramdisk: { ...reported.ramdisk, facts } };
  return withEvent(withFacts, { type, detail: `from ${remoteAddress}` }, now);
}

/** The key is used: its hash stays only to tell a second use from a wrong key (N2, N3). */
function spent(node: NodeRecord, outcome: Parameters<typeof withSession>[1]): NodeRecord {
  return withSession(node, { ...outcome, usedKeyHash: sessionOf(node)?.keyHash, keyHash: undefined });
}

/**
 * A refusal is worth remembering when the sender had the key; without it anybody could fill the record with noise, so then
 * it is only logged.
 */
function refused(node: NodeRecord, from: string, refusal: { readonly kind: string }, now: number): NodeRecord | undefined {
  if (refusal.kind === 'wrong-key' || refusal.kind === 'unknown-node') return undefined;
  return withEvent(node, { type: 'deploy POST refused', detail: `from ${from}: ${refusal.kind}` }, now);
}
