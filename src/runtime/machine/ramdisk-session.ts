/** The ramdisk that a machine may be running for us, and its key: of a deployment, or of an inspection, a cleaning, a rescue. */
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { randomUuid } from '../core/random.ts';
import { deployKeyName, newDeployKey } from './deploy-key.ts';
import type { RamdiskSession } from './deployment-record.ts';
import type { HandlerContext } from './handler.ts';
import type { NodeRecord, NodeState } from './node-record.ts';

/** What both kinds of session have in common. */
export type KeySession = Omit<RamdiskSession, 'purpose' | 'progress' | 'facts'>;

/** Steps of an inspection, a cleaning or a rescue in which its ramdisk may be up. */
const RAMDISK_UP: readonly string[] = ['power on', 'wait for the ramdisk'];
const ramdiskStates: ReadonlySet<NodeState> = new Set(['inspecting', 'cleaning', 'rescuing']);

export function sessionOf(node: NodeRecord): KeySession | undefined {
  return node.ramdisk ?? node.deployment;
}

export function withSession(node: NodeRecord, part: Partial<KeySession>): NodeRecord {
  if (node.ramdisk !== undefined) return { ...node, ramdisk: { ...node.ramdisk, ...part } };
  return node.deployment === undefined ? node : { ...node, deployment: { ...node.deployment, ...part } };
}

/** Whether a ramdisk of this session may be up already: its POST can be quicker than our own bookkeeping. */
export function mayHavePosted(node: NodeRecord): boolean {
  if (ramdiskStates.has(node.state)) return node.ramdisk !== undefined && RAMDISK_UP.includes(node.step ?? '');
  return node.state === 'prepared' || (node.state === 'building' && node.step === 'power on');
}

export function newSession({ random, clock, settings }: HandlerContext, purpose: RamdiskSession['purpose']): RamdiskSession {
  const id = randomUuid(random);
  return { id, purpose, iqn: `${settings.iqnPrefix}:${id}`, expiresAt: clock.now() + settings.pxeDeployTimeoutMs };
}

/**
 * The key of this session: the one in the secret store if a former owner has put it there and died, else a new one. It is
 * stored before its hash is, so that there is never a hash whose key nobody knows.
 */
export function mintKey(context: HandlerContext, sessionId: string): Promise<Secret> {
  return mint(context, deployKeyName(sessionId), () => newDeployKey(context.random));
}

export async function mint(context: HandlerContext, name: string, make: () => Secret): Promise<Secret> {
  try {
    return await context.secret(name);
  } catch (error) {
    if (!isUnknown(error)) throw error;
  }
  await context.ports.secrets.write(name, make());
  // Read back: should a former owner, slow but alive, have written at the same time, both go on with the key that is there.
  return context.secret(name);
}

function isUnknown(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'SECRET_UNKNOWN';
}
