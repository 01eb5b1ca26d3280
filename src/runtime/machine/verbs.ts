/**
 * What people and APIs ask for, on any replica: a compare-and-swap on the record, which the owner answers. Every verb but spawn, adopt and the
 * maintenance flag goes through `ask`, which refuses what the machine's state has no answer for.
 */
import type { CodedError } from 'cdk8s-baremetal-contract';
import { resolveNetwork } from 'cdk8s-baremetal-contract/instance-network/index';
import type { Clock } from '../core/clock.ts';
import { modify, type Store } from '../store/index.ts';
import { type ImageRecord, imageKind } from './catalog-records.ts';
import { machineErrors } from './errors.ts';
import { withoutReport } from './fleet/faults.ts';
import { activeVerbs } from './handlers/active.ts';
import { type Instance, type NodeRecord, nodeKind, type RequestArgs, type Verb, verbs } from './node-record.ts';
import { refuseCarried } from './nodes.ts';
import { withTime } from './ownership.ts';
import { type Approval, checkApproval, type PlannedRequest, planOf } from './plan.ts';
import { defaultSettings, type MachineSettings } from './settings.ts';
import { states } from './states.ts';

export interface VerbContext {
  readonly store: Store;
  readonly clock: Clock;
  /** What a destroy does to the disk is part of its plan, and the end of a maintenance gives states their time again. @default the defaults */
  readonly settings?: Partial<MachineSettings>;
}

export interface AskOptions {
  readonly args?: RequestArgs;
  /** Who asks, for the record; never a token. */
  readonly by?: string;
  /** Needed by what loses data: destroy, rebuild and clean. Checked against the record that is changed, so nobody gets past it. */
  readonly approval?: Approval;
  /** Only if an instance of this UUID is on it. */
  readonly instanceUuid?: string;
}

export type SpawnRequest = Omit<Instance, 'at' | 'vifs' | 'volumes' | 'adopted' | 'preserveEphemeral'> &
  Partial<Pick<Instance, 'vifs' | 'volumes'>> & {
    /** Of the plan for this machine, checked against the record that is changed. */
    readonly approval: Approval;
  };

export type SpawnOutcome =
  /** Also when the same instance was associated before. */
  { readonly kind: 'associated'; readonly node: NodeRecord } | { readonly kind: 'refused'; readonly reason: string };

/** Verbs that end in a disk without its former content, or in an instance that is no more. */
const harmful: ReadonlySet<Verb> = new Set(['destroy', 'rebuild', 'clean']);
/** These come through whatever else is under way or waiting. */
const urgent: ReadonlySet<Verb> = new Set(['destroy', 'abort', 'unstick', 'retry']);

/**
 * Leaves a request on the record for the owner. Resolves to the record with it. Throws MACHINE_UNKNOWN, MACHINE_WRONG_STATE (with what is
 * possible), MACHINE_BUSY, MACHINE_IN_MAINTENANCE, and for verbs that lose data MACHINE_NOT_APPROVED or MACHINE_PLAN_CHANGED. Asking for the same thing
 * again before it has begun changes nothing.
 */
export async function ask(context: VerbContext, nodeId: string, verb: Verb, options: AskOptions = {}): Promise<NodeRecord> {
  const { store, clock } = context;
  const settings = { ...defaultSettings, ...context.settings };
  const { args, by, approval, instanceUuid } = options;
  const image = verb === 'rebuild' ? await imageOf(store, nodeId, args) : undefined;
  return change(store, nodeId, (node) => {
    if (instanceUuid !== undefined && node.instance?.uuid !== instanceUuid) throw wrongState(node, verb);
    const pending = node.request;
    if (pending?.verb === verb && JSON.stringify(pending.args ?? {}) === JSON.stringify(args ?? {})) return undefined;
    const refusal = refuseVerb(node, verb);
    if (refusal !== undefined) throw refusal;
    if (harmful.has(verb)) checkApproval(node, planOf(plannedRequest(verb, args), node, image, settings), approval);
    const request = { verb, at: clock.now(), ...(args && { args }), ...(by !== undefined && { by }) };
    // Whatever else is wrong with it, a replica that holds a machine without looking after it lets it go now.
    return verb === 'unstick' ? { ...node, request, owner: undefined, epoch: node.epoch + 1 } : { ...node, request };
  });
}

/**
 * Associates an instance with a machine, atomically: of two spawns on one machine one is refused. Building it is the owner's work. Throws
 * MACHINE_NOT_APPROVED, MACHINE_PLAN_CHANGED.
 */
export async function spawn({ store, clock }: VerbContext, nodeId: string, request: SpawnRequest): Promise<SpawnOutcome> {
  const { approval, ...wanted } = request;
  const image = (await store.get(imageKind, wanted.imageId))?.value;
  let outcome: SpawnOutcome | undefined;
  const node = await change(store, nodeId, (value) => {
    const refusal = refuseSpawn(value, wanted.uuid) ?? refuseNetwork(value, wanted.network);
    outcome = refusal === undefined ? undefined : { kind: 'refused', reason: refusal };
    if (refusal !== undefined || value.instance?.uuid === wanted.uuid) return undefined;
    checkApproval(value, planOf(spawnRequest(wanted), value, image), approval);
    return {
      ...value,
      instance: { vifs: [], volumes: [], ...wanted, at: clock.now() },
      // a free machine may last; one whose building is to begin may not
      stateDeadline: clock.now() + defaultSettings.verifyTimeoutMs,
      targetState: 'active',
      generation: value.generation + 1,
      request: undefined,
    };
  });
  return outcome ?? { kind: 'associated', node };
}

/** What its plan is made of. */
export function spawnRequest({ imageId, network }: Pick<Instance, 'imageId' | 'network'>): PlannedRequest {
  return { verb: 'spawn', imageId, ...(network && { network }) };
}

/** Whether the machine has the interfaces that the instance's network speaks of. */
export function refuseNetwork(node: NodeRecord, network: Instance['network']): string | undefined {
  if (network === undefined) return undefined;
  const resolved = resolveNetwork(
    network,
    node.interfaces.map(({ mac }) => mac),
  );
  return typeof resolved === 'string' ? `${node.name} cannot have this network: ${resolved}` : undefined;
}

/** Why this machine cannot take an instance now; undefined when it can. */
export function refuseSpawn(node: NodeRecord, instanceUuid: string): string | undefined {
  if (node.instance?.uuid === instanceUuid) return undefined;
  if (node.instance !== undefined) return `${node.name} is associated with another instance, ${node.instance.uuid}`;
  if (node.adopt !== undefined) return `${node.name} takes over another instance, ${node.adopt.uuid}`;
  if (node.maintenance) return `${node.name} is in maintenance${node.maintenanceReason === undefined ? '' : `: ${node.maintenanceReason}`}`;
  if (node.fault !== undefined) return `${node.name} has a fault: ${node.fault.reason}`;
  return node.state === 'available' && node.request === undefined ? undefined : `${node.name} is ${node.state}: ${node.reason}`;
}

/**
 * Takes over a machine that carries a running instance already, from `manageable` or `available`: its BMC is asked for the power state, and
 * nothing else happens to it. MACHINE_WRONG_STATE elsewhere, MACHINE_TAKEN where another machine carries the instance. The same
 * instance again changes nothing.
 */
export async function adopt(
  { store, clock }: VerbContext,
  nodeId: string,
  instance: Pick<Instance, 'uuid' | 'name' | 'imageId'>,
): Promise<NodeRecord> {
  await refuseCarried(store, instance.uuid, nodeId);
  return change(store, nodeId, (node) => {
    if (node.instance?.uuid === instance.uuid || node.adopt?.uuid === instance.uuid) return undefined;
    const { uuid, name, imageId } = instance;
    const free = (node.state === 'manageable' || node.state === 'available') && node.instance === undefined && node.adopt === undefined;
    if (!free || node.request !== undefined) throw wrongState(node, 'adopt');
    // A machine that is held or free may last there; one that is to be taken over may not.
    const stateDeadline = clock.now() + defaultSettings.verifyTimeoutMs;
    return { ...node, adopt: { uuid, name, imageId }, provide: false, todo: [], stateDeadline };
  });
}

/**
 * Stops or resumes everything that changes the machine's power or disks; what runs is interrupted, and has its whole time again afterwards. Its end is also
 * that of a report that the machine is unhealthy: somebody has looked at it, and with every grade behind it the report would quarantine it again at once.
 */
export async function setMaintenance(context: VerbContext, nodeId: string, maintenance: boolean, reason?: string): Promise<void> {
  const { store, clock } = context;
  const settings = { ...defaultSettings, ...context.settings };
  await change(store, nodeId, (value) => {
    if (value.maintenance === maintenance && (reason === undefined || value.maintenanceReason === reason)) return undefined;
    const changed = { ...value, maintenance, maintenanceReason: maintenance ? reason : undefined };
    if (maintenance) return changed;
    const now = clock.now();
    if (!value.maintenance) return withoutReport(changed, now);
    const limitMs = states[value.state].deadline(settings, value) ?? (value.step === undefined ? undefined : settings.verbTimeoutMs);
    return withTime(withoutReport(changed, now), limitMs, now);
  });
}

/** Why it cannot be asked of the machine as it is now. */
export function refuseVerb(node: NodeRecord, verb: Verb): CodedError | undefined {
  if (states[node.state].onRequest(node, verb) === undefined) return wrongState(node, verb);
  if (urgent.has(verb)) return undefined;
  if (node.maintenance)
    return machineErrors.MACHINE_IN_MAINTENANCE({ node: node.name, reason: node.maintenanceReason ?? 'no reason was given' });
  if (node.request !== undefined) return machineErrors.MACHINE_BUSY({ node: node.name, doing: node.request.verb });
  if (node.step !== undefined && activeVerbs.some((known) => known === node.step)) {
    return machineErrors.MACHINE_BUSY({ node: node.name, doing: node.step });
  }
  return undefined;
}

function wrongState(node: NodeRecord, verb: string) {
  const possible = verbs.filter((other) => states[node.state].onRequest(node, other) !== undefined);
  return machineErrors.MACHINE_WRONG_STATE({ node: node.name, state: node.state, verb, possible });
}

function plannedRequest(verb: Verb, args: RequestArgs | undefined): PlannedRequest {
  if (verb === 'destroy') return { verb };
  if (verb === 'clean') return { verb, ...(args?.wipe && { wipe: args.wipe }) };
  return { verb: 'rebuild', ...(args?.imageId && { imageId: args.imageId }), ...(args?.preserveEphemeral && { preserveEphemeral: true }) };
}

async function imageOf(store: Store, nodeId: string, args: RequestArgs | undefined): Promise<ImageRecord> {
  const id = args?.imageId ?? (await store.get(nodeKind, nodeId))?.value.instance?.imageId ?? '';
  const image = (await store.get(imageKind, id))?.value;
  if (image === undefined) throw machineErrors.MACHINE_IMAGE_UNKNOWN({ image: id });
  return image;
}

async function change(store: Store, nodeId: string, next: (value: NodeRecord) => NodeRecord | undefined): Promise<NodeRecord> {
  const result = await modify(store, nodeKind, nodeId, next);
  if (result.outcome === 'missing') throw machineErrors.MACHINE_UNKNOWN({ node: nodeId });
  return result.record.value;
}
