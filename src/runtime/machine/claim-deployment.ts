/**
 * The use of a deployment key: by compare-and-swap on the machine's record, so that any replica may accept the ramdisk's POST and of
 * two POSTs with one key only one is accepted. The machine's owner sees the record change and goes on from there.
 */
import { Secret } from 'cdk8s-baremetal-contract/secret';
import type { Clock } from '../core/clock.ts';
import { isoTime } from '../core/iso-time.ts';
import type { ClaimDeployment, ClaimOutcome, ClaimRequest } from '../deploy/helper/index.ts';
import type { Store, Stored } from '../store/index.ts';
import { keyMatches } from './deploy-key.ts';
import { mayHavePosted } from './handlers/building.ts';
import { type NodeRecord, nodeKind } from './node-record.ts';
import { findNodeByNumber } from './nodes.ts';
import { defaultSettings, type MachineSettings } from './settings.ts';
import { withEvent } from './timeline.ts';
import { cleanText } from './transition.ts';

export interface ClaimOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly settings?: Pick<MachineSettings, 'addressCheck'>;
}

export function claimDeployment({ store, clock, settings = defaultSettings }: ClaimOptions): ClaimDeployment {
  return async (request) => {
    let record = await findNodeByNumber(store, request.id);
    while (record !== undefined) {
      const now = clock.now();
      const refusal = refuse(record.value, request, settings, now);
      const value = refusal === undefined ? accepted(record.value, request, now) : refused(record.value, request, refusal, now);
      if (value === undefined) return refusal ?? { kind: 'accepted' };
      const result: Awaited<ReturnType<typeof store.update<NodeRecord>>> = await store.update(
        nodeKind,
        { id: record.id, value },
        record.version,
      );
      if (result.outcome === 'stored') return refusal ?? { kind: 'accepted' };
      record = result.current satisfies Stored<NodeRecord> | undefined;
    }
    return { kind: 'unknown-node' };
  };
}

/** The key first: who does not have it learns nothing else about the machine. */
function refuse(
  node: NodeRecord,
  request: ClaimRequest,
  settings: Pick<MachineSettings, 'addressCheck'>,
  now: number,
): Exclude<ClaimOutcome, { kind: 'accepted' }> | undefined {
  const { deployment } = node;
  const key = new Secret(request.key);
  // Both comparisons always run, so that the time does not tell which hash is there.
  const unused = keyMatches(key, deployment?.keyHash);
  const used = keyMatches(key, deployment?.usedKeyHash);
  if (deployment === undefined || (!unused && !used)) return { kind: 'wrong-key' };
  if (used) return { kind: 'used' };
  if (!mayHavePosted(node)) return { kind: 'not-waiting', state: node.state };
  if (now >= deployment.expiresAt) return { kind: 'expired', at: isoTime(deployment.expiresAt) };
  const wrongAddress = refuseAddress(node, request, settings);
  if (wrongAddress !== undefined) return { kind: 'wrong-address', reason: wrongAddress };
  if (request.iqn !== deployment.iqn) return { kind: 'wrong-target', expected: deployment.iqn };
  return undefined;
}

/** N4: what the ramdisk names is where we would log in and write, so it must be where it really is. */
function refuseAddress(
  node: NodeRecord,
  request: ClaimRequest,
  { addressCheck }: Pick<MachineSettings, 'addressCheck'>,
): string | undefined {
  if (request.address !== request.remoteAddress) return `the address ${request.address} is not the sender's, ${request.remoteAddress}`;
  const allowed = node.deployment?.allowedAddress;
  if (allowed === undefined) return addressCheck === 'source' ? undefined : 'no lease of this machine is known';
  return allowed === request.address ? undefined : `the address ${request.address} is not the lease of this machine, ${allowed}`;
}

function accepted(node: NodeRecord, request: ClaimRequest, now: number): NodeRecord | undefined {
  if (node.deployment === undefined) return undefined;
  const { keyHash, ...rest } = node.deployment;
  const { address, port, lun } = request;
  const outcome =
    request.error === undefined
      ? { claim: { address, port, lun, at: now } }
      : { reportedError: cleanText(request.error) || 'an error without a message' };
  const type = request.error === undefined ? 'deploy POST accepted' : 'deploy POST with an error';
  return withEvent({ ...node, deployment: { ...rest, usedKeyHash: keyHash, ...outcome } }, { type, detail: `from ${address}` }, now);
}

/**
 * A refusal is worth remembering when the sender had the key; without it anybody could fill the record with noise, so then
 * it is only logged.
 */
function refused(node: NodeRecord, request: ClaimRequest, refusal: ClaimOutcome, now: number): NodeRecord | undefined {
  if (refusal.kind === 'wrong-key' || refusal.kind === 'unknown-node') return undefined;
  return withEvent(node, { type: 'deploy POST refused', detail: `from ${request.remoteAddress}: ${refusal.kind}` }, now);
}
