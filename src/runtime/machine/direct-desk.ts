/** Who may read an image by the `direct` method, and what its ramdisk says of the work: both are the machine's record, so any replica will do. */
import { createHash } from 'node:crypto';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import type { Clock } from '../core/clock.ts';
import type { DirectAccess, DirectDesk, DirectNews, DirectRefusal, DirectRequest } from '../deploy/direct/index.ts';
import { modify, type Store } from '../store/index.ts';
import { keyMatches } from './deploy-key.ts';
import { DEFAULT_PARTITIONS } from './deployment-record.ts';
import { type NodeRecord, nodeKind } from './node-record.ts';
import { findNodeByNumber } from './nodes.ts';
import { completeDrive } from './phone-home.ts';
import type { SecretSource } from './secrets.ts';
import { withEvent } from './timeline.ts';
import { cleanText } from './transition.ts';

/** `printf 'direct %s' "$DEPLOYMENT_KEY" | sha256sum`: known to who has the key, and good until the deployment is over. */
export function directTokenHash(key: Secret): string {
  const token = createHash('sha256').update(`direct ${key.reveal()}`).digest('hex');
  return createHash('sha256').update(token).digest('hex');
}

export interface DirectDeskOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** For what goes into the config drive and not onto the record. */
  readonly secrets: Pick<SecretSource, 'read'>;
}

export function directDesk({ store, clock, secrets }: DirectDeskOptions): DirectDesk {
  return {
    access: async (request) => {
      const record = await findNodeByNumber(store, request.node);
      return record === undefined ? { kind: 'unknown-node' } : accessOf(record.value, request, secrets);
    },
    report: async (request, news) => {
      const record = await findNodeByNumber(store, request.node);
      if (record === undefined) return { kind: 'unknown-node' };
      let refusal: DirectRefusal | undefined;
      const result = await modify(store, nodeKind, record.id, (node) => {
        refusal = refuse(node, request);
        return refusal === undefined ? noted(node, news, clock.now()) : undefined;
      });
      if (result.outcome === 'missing') return { kind: 'unknown-node' };
      return refusal ?? { kind: 'noted' };
    },
  };
}

/** The token first: who does not have it learns nothing else about the machine. */
function refuse(node: NodeRecord, { token, remoteAddress }: DirectRequest): DirectRefusal | undefined {
  const { deployment } = node;
  if (!keyMatches(new Secret(token), deployment?.direct?.tokenHash)) return { kind: 'wrong-token' };
  if (deployment?.claim?.address !== remoteAddress) {
    return {
      kind: 'wrong-address',
      reason: `the request comes from ${remoteAddress}, the claim came from ${deployment?.claim?.address ?? 'nowhere'}`,
    };
  }
  // Claimed and not yet taken up is still `prepared`.
  if (node.state !== 'deploying' && node.state !== 'prepared' && node.state !== 'building')
    return { kind: 'not-writing', state: node.state };
  return undefined;
}

async function accessOf(node: NodeRecord, request: DirectRequest, secrets: DirectDeskOptions['secrets']): Promise<DirectAccess> {
  const refusal = refuse(node, request);
  if (refusal !== undefined) return refusal;
  const { deployment } = node;
  if (deployment === undefined) return { kind: 'wrong-token' };
  // Set when the owner has compared disk and record; until then nothing may be written.
  if (node.state !== 'deploying' || deployment.disk === undefined) return { kind: 'wait' };
  if (deployment.direct?.doneAt !== undefined) return { kind: 'not-writing', state: 'written already' };
  const { id, disk, imageId, image } = deployment;
  const configDrive = await completeDrive(deployment, (name) => secrets.read(name));
  return {
    kind: 'granted',
    deployment: {
      id,
      diskBytes: disk.sizeBytes,
      ...(disk.blockBytes !== undefined && { blockBytes: disk.blockBytes }),
      imageId,
      ...(image.sha256 !== undefined && { sha256: image.sha256 }),
      ...(configDrive && { configDrive }),
      ...(image.layout === 'partition' && { partitions: image.partitions ?? DEFAULT_PARTITIONS }),
    },
  };
}

function noted(node: NodeRecord, news: DirectNews, at: number): NodeRecord | undefined {
  const { deployment } = node;
  if (deployment?.direct === undefined || deployment.direct.doneAt !== undefined) return undefined;
  const put = (part: Partial<NonNullable<typeof deployment.direct>>): NodeRecord => ({
    ...node,
    deployment: { ...deployment, direct: { tokenHash: '', ...deployment.direct, ...part, heardAt: at } },
  });
  switch (news.kind) {
    case 'progress':
      return put({ bytes: news.bytes });
    case 'done':
      return withEvent(put({ sha256: news.sha256, doneAt: at }), { type: 'the ramdisk has written the image' }, at);
    case 'error': {
      const error = cleanText(news.message) || 'an error without a message';
      return withEvent(put({ error }), { type: 'the ramdisk reported an error' }, at);
    }
  }
}
