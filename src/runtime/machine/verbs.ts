/** What people and APIs ask for, on any replica: a compare-and-swap on the record, which the owner answers. */
import type { Clock } from '../core/clock.ts';
import { modify, type Store } from '../store/index.ts';
import { machineErrors } from './errors.ts';
import { type Instance, type NodeRecord, nodeKind } from './node-record.ts';

export interface VerbContext {
  readonly store: Store;
  readonly clock: Clock;
}

export type SpawnRequest = Omit<Instance, 'at' | 'vifs' | 'volumes'> & Partial<Pick<Instance, 'vifs' | 'volumes'>>;

export type SpawnOutcome =
  /** Also when the same instance was associated before. */
  { readonly kind: 'associated'; readonly node: NodeRecord } | { readonly kind: 'refused'; readonly reason: string };

/** Associates an instance with a machine, atomically: of two spawns on one machine one is refused. Building it is the owner's work. */
export async function spawn({ store, clock }: VerbContext, nodeId: string, request: SpawnRequest): Promise<SpawnOutcome> {
  let outcome: SpawnOutcome | undefined;
  const node = await change(store, nodeId, (value) => {
    const refusal = refuseSpawn(value, request.uuid);
    outcome = refusal === undefined ? undefined : { kind: 'refused', reason: refusal };
    if (refusal !== undefined || value.instance?.uuid === request.uuid) return undefined;
    return {
      ...value,
      instance: { vifs: [], volumes: [], ...request, at: clock.now() },
      targetState: 'active',
      generation: value.generation + 1,
      request: undefined,
    };
  });
  return outcome ?? { kind: 'associated', node };
}

function refuseSpawn(node: NodeRecord, instanceUuid: string): string | undefined {
  if (node.instance?.uuid === instanceUuid) return undefined;
  if (node.instance !== undefined) return `${node.name} is associated with another instance, ${node.instance.uuid}`;
  if (node.maintenance) return `${node.name} is in maintenance`;
  return node.state === 'available' ? undefined : `${node.name} is ${node.state}: ${node.reason}`;
}

/**
 * Asks for the end of the instance on this machine, whatever state it is in: what runs is interrupted, everything is cleaned up, and the machine is
 * free again. False when there is no instance (or not this one): a destroy of nothing is no error.
 */
export async function destroy({ store, clock }: VerbContext, nodeId: string, instanceUuid?: string): Promise<boolean> {
  let asked = false;
  await change(store, nodeId, (value) => {
    asked = value.instance !== undefined && (instanceUuid === undefined || value.instance.uuid === instanceUuid);
    return asked ? { ...value, request: { verb: 'destroy', at: clock.now() } } : undefined;
  });
  return asked;
}

/** For a machine in `error`: try its BMC again, or its cleanup if an instance is left on it. False in any other state. */
export async function retryNode({ store, clock }: VerbContext, nodeId: string): Promise<boolean> {
  let asked = false;
  await change(store, nodeId, (value) => {
    asked = value.state === 'error';
    return asked ? { ...value, request: { verb: 'retry', at: clock.now() } } : undefined;
  });
  return asked;
}

/** Power verbs for a machine in use; the owner carries them out. False when it is not `active`. A later one replaces one that has not begun. */
export async function setPower({ store, clock }: VerbContext, nodeId: string, verb: 'reboot' | 'power on' | 'power off'): Promise<boolean> {
  let asked = false;
  await change(store, nodeId, (value) => {
    // Never in place of a destroy that is still to be answered.
    asked = value.state === 'active' && value.request?.verb !== 'destroy';
    return asked ? { ...value, request: { verb, at: clock.now() } } : undefined;
  });
  return asked;
}

/** Stops or resumes everything that changes the machine's power or disks; what runs is interrupted. */
export async function setMaintenance({ store }: VerbContext, nodeId: string, maintenance: boolean): Promise<void> {
  await change(store, nodeId, (value) => (value.maintenance === maintenance ? undefined : { ...value, maintenance }));
}

async function change(store: Store, nodeId: string, next: (value: NodeRecord) => NodeRecord | undefined): Promise<NodeRecord> {
  const result = await modify(store, nodeKind, nodeId, next);
  if (result.outcome === 'missing') throw machineErrors.MACHINE_UNKNOWN({ node: nodeId });
  return result.record.value;
}
