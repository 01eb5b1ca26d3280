/**
 * The table of a machine's life: for each state its handler, how long it may last, and where it may lead.
 *
 *   enrolled ─▶ verifying ─▶ manageable ─▶ initializing ─▶ available ─▶ building ─▶ prepared ─▶ deploying ─▶ deploy complete ─▶ active
 *                              ▲ │  │                        ▲ │           │           │            │              │           ▲ │ │
 *                              │ │  └─▶ adopting ──────────────┼───────────┼───────────┼────────────┼──────────────┼───────────┘ │ │
 *                 inspecting ◀─┼─┴──────────────────────────── │           │           └── failed ──┴──────────────┤   rescuing ◀┘ │
 *                 cleaning   ◀─┤                               │           ▼                        ▼              │   rescue      │
 *                      └───────┘                               │         error ◀───────────── deploy failed        │   unrescuing  │
 *                      ▲                                       │           │ cleanup gave up       │ cleaned up    │               │
 *                      └───────────────── deleted ◀────────────┴───────────┴───────────────────────┴── deleting ◀──┴───────────────┘
 */
import type { Handler } from './handler.ts';
import { active, activeVerbs } from './handlers/active.ts';
import { adopting } from './handlers/adopting.ts';
import { building } from './handlers/building.ts';
import { cleanup, withoutInstance } from './handlers/cleanup.ts';
import { deployComplete } from './handlers/deploy-complete.ts';
import { deploying } from './handlers/deploying.ts';
import { enrolled, manageable, verifying } from './handlers/enrolment.ts';
import { available, deleted } from './handlers/free.ts';
import { initializing } from './handlers/initializing.ts';
import { prepared } from './handlers/prepared.ts';
import { cleaning, inspecting, rescuing, unrescuing } from './handlers/ramdisk-work.ts';
import { rescue } from './handlers/rescue.ts';
import { isIncomplete, type NodeRecord, type NodeState, type RequestArgs, type Verb } from './node-record.ts';
import type { Change } from './results.ts';
import type { Duration, StateRules } from './transition.ts';

export interface StateEntry extends StateRules {
  readonly handler: Handler;
  /** Which limit on concurrency counts: any work, or image writing. */
  readonly lane: 'general' | 'write';
  /** What did not happen when the deadline is missed, for the diagnosis. */
  readonly awaited: string;
  /** What a request leads to; undefined: there is nothing to do for it here. */
  readonly onRequest: (node: NodeRecord, verb: Verb, args?: RequestArgs) => RequestAnswer | undefined;
  /** Nothing is to be done until a request comes. */
  readonly rests: (node: NodeRecord) => boolean;
}

export type StateTable = Readonly<Record<NodeState, StateEntry>>;

export type RequestAnswer =
  /** To this state at once, interrupting the handler. */
  | { readonly kind: 'move'; readonly to: NodeState; readonly change?: Change }
  /** Where a failure of this state leads, interrupting the handler: what was begun is cleaned up. */
  | { readonly kind: 'fail'; readonly change?: Change }
  /** The same state from its beginning, interrupting the handler, with a new deadline. */
  | { readonly kind: 'again'; readonly change?: Change }
  /** This step of the state that it is in, after what is under way. */
  | { readonly kind: 'step'; readonly step: Verb; readonly change?: Change };

type OnRequest = StateEntry['onRequest'];
const never = (): boolean => false;
const always = (): boolean => true;
const unlimited: Duration = () => undefined;
const common = { lane: 'general', deadlineFromStart: false, rests: never } as const;

/** The first that has an answer. */
const firstOf =
  (...answers: OnRequest[]): OnRequest =>
  (node, verb, args) => {
    for (const answer of answers) {
      const given = answer(node, verb, args);
      if (given !== undefined) return given;
    }
    return undefined;
  };

const destroyable: OnRequest = (node, verb) =>
  verb === 'destroy' && node.instance !== undefined ? { kind: 'move', to: 'deleting' } : undefined;
/** What is under way for an instance is given up; the cleanup follows, and the machine is free again. */
const abortable: OnRequest = (_node, verb) => (verb === 'abort' || verb === 'unstick' ? { kind: 'fail' } : undefined);
/** What is under way without an instance: cleaned up too, and verified again. */
const recoverable: OnRequest = (_node, verb) => {
  if (verb !== 'abort' && verb !== 'unstick') return undefined;
  return { kind: 'fail', change: (node) => ({ ...node, recover: true, todo: [], wipe: undefined }) };
};
/** Something is to be done, and its owner does not begin: another one looks at it. */
const unbegun =
  (isUnbegun: (node: NodeRecord) => boolean): OnRequest =>
  (node, verb) =>
    verb === 'unstick' && (node.request !== undefined || isUnbegun(node)) ? { kind: 'again' } : undefined;
const restartable: OnRequest = (_node, verb) => (verb === 'unstick' ? { kind: 'again' } : undefined);
/** What may be asked of a machine that is enrolled and carries nothing. */
const preparable: OnRequest = (node, verb, args) => {
  if (node.instance !== undefined || node.adopt !== undefined) return undefined;
  if (verb === 'inspect') return { kind: 'move', to: 'inspecting', change: (latest) => ({ ...latest, applyFacts: args?.apply }) };
  if (verb === 'clean') return { kind: 'move', to: 'cleaning', change: (latest) => ({ ...latest, wipe: args?.wipe ?? 'metadata' }) };
  return undefined;
};

export const states: StateTable = {
  enrolled: {
    ...common,
    handler: enrolled,
    deadline: (settings, node) => (node !== undefined && isIncomplete(node) ? undefined : settings.verifyTimeoutMs),
    awaited: 'the start of the verification',
    next: ['verifying', 'error'],
    onFailure: 'error',
    onRequest: (node, verb, args) => (isIncomplete(node) ? undefined : recoverable(node, verb, args)),
    rests: isIncomplete,
  },
  verifying: {
    ...common,
    handler: verifying,
    deadline: (settings) => settings.verifyTimeoutMs,
    awaited: 'an answer from the BMC',
    next: ['manageable', 'error'],
    onFailure: 'error',
    onRequest: recoverable,
  },
  manageable: {
    ...common,
    handler: manageable,
    deadline: (settings, node) => (node !== undefined && held(node) ? undefined : settings.verifyTimeoutMs),
    awaited: 'the way to available',
    next: ['inspecting', 'cleaning', 'initializing', 'adopting', 'error'],
    onFailure: 'error',
    onRequest: firstOf(
      preparable,
      (node, verb) => {
        if (verb === 'provide' && node.adopt === undefined && node.properties.cpus > 0) {
          return { kind: 'move', to: 'initializing', change: (latest) => ({ ...latest, provide: true }) };
        }
        return undefined;
      },
      unbegun((node) => !held(node)),
    ),
    rests: held,
  },
  inspecting: {
    ...common,
    handler: inspecting,
    deadline: (settings) => settings.inspectTimeoutMs,
    awaited: 'the facts of the inspection ramdisk',
    next: ['manageable', 'error'],
    onFailure: 'error',
    onRequest: recoverable,
  },
  cleaning: {
    ...common,
    handler: cleaning,
    deadline: (settings, node) => (node?.wipe === 'full' ? settings.fullCleanTimeoutMs : settings.cleanTimeoutMs),
    awaited: 'the end of the cleaning',
    next: ['manageable', 'error'],
    onFailure: 'error',
    onRequest: recoverable,
  },
  initializing: {
    ...common,
    handler: initializing,
    deadline: (settings) => settings.verifyTimeoutMs,
    awaited: 'an answer from the BMC',
    next: ['available', 'error'],
    onFailure: 'error',
    onRequest: recoverable,
  },
  available: {
    ...common,
    handler: available,
    deadline: unlimited,
    awaited: 'the start of what was asked for',
    next: ['building', 'adopting', 'deleting', 'manageable', 'inspecting', 'cleaning'],
    onFailure: 'available',
    onRequest: firstOf(
      destroyable,
      preparable,
      (node, verb) =>
        verb === 'manage' && node.instance === undefined && node.adopt === undefined
          ? { kind: 'move', to: 'manageable', change: (latest) => ({ ...latest, provide: false, todo: [] }) }
          : undefined,
      unbegun((node) => node.instance !== undefined || node.adopt !== undefined),
    ),
    rests: (node) => node.instance === undefined && node.adopt === undefined,
  },
  building: {
    ...common,
    handler: building,
    deadline: (settings) => settings.buildTimeoutMs,
    awaited: 'the end of the preparations',
    next: ['prepared', 'error', 'deleting'],
    onFailure: 'error',
    onRequest: firstOf(destroyable, abortable),
  },
  prepared: {
    ...common,
    handler: prepared,
    deadline: (settings) => settings.pxeDeployTimeoutMs,
    awaited: 'POST from the deploy ramdisk',
    next: ['deploying', 'deploy failed', 'deleting'],
    onFailure: 'deploy failed',
    onRequest: firstOf(destroyable, abortable),
  },
  deploying: {
    ...common,
    handler: deploying,
    deadline: (settings) => settings.writeTimeoutMs,
    deadlineFromStart: true,
    lane: 'write',
    awaited: 'the end of the image',
    next: ['deploy complete', 'deploy failed', 'deleting'],
    onFailure: 'deploy failed',
    onRequest: firstOf(destroyable, abortable),
  },
  'deploy complete': {
    ...common,
    handler: deployComplete,
    deadline: ({ completeTimeoutMs, phoneHomeTimeoutMs }, node) =>
      completeTimeoutMs + (node?.deployment?.phoneHome === undefined ? 0 : phoneHomeTimeoutMs),
    awaited: 'the first boot from disk',
    next: ['active', 'deploy failed', 'deleting'],
    onFailure: 'deploy failed',
    onRequest: firstOf(destroyable, abortable),
  },
  active: {
    ...common,
    handler: active,
    deadline: unlimited,
    awaited: 'the end of the verb',
    next: ['deleting', 'building', 'rescuing'],
    onFailure: 'active',
    onRequest: firstOf(
      destroyable,
      (node, verb, args) => onActive(node, verb, args),
      unbegun(() => false),
    ),
    rests: (node) => node.step === undefined,
  },
  rescuing: {
    ...common,
    handler: rescuing,
    deadline: (settings) => settings.rescueTimeoutMs,
    awaited: 'the report of the rescue ramdisk',
    next: ['rescue', 'unrescuing', 'deleting'],
    onFailure: 'unrescuing',
    onRequest: firstOf(destroyable, abortable),
  },
  rescue: {
    ...common,
    handler: rescue,
    deadline: unlimited,
    awaited: 'a request',
    next: ['unrescuing', 'deleting'],
    onFailure: 'rescue',
    onRequest: firstOf(destroyable, (_node, verb) =>
      verb === 'unrescue' || verb === 'abort' || verb === 'unstick' ? { kind: 'move', to: 'unrescuing' } : undefined,
    ),
    rests: always,
  },
  unrescuing: {
    ...common,
    handler: unrescuing,
    deadline: (settings) => settings.verbTimeoutMs,
    awaited: 'the start of the instance',
    next: ['active', 'deleting'],
    onFailure: 'active',
    forget: (node) => ({ ...node, ramdisk: undefined, authorizedKeys: undefined }),
    onRequest: firstOf(destroyable, restartable),
  },
  adopting: {
    ...common,
    handler: adopting,
    deadline: (settings) => settings.verifyTimeoutMs,
    awaited: 'an answer from the BMC',
    next: ['active', 'manageable'],
    // Never to `available`: somebody's instance is on its disk.
    onFailure: 'manageable',
    forget: (node) => ({ ...withoutInstance(node), provide: false, todo: [] }),
    // A destroy of what was not yet taken over only lets go of it.
    onRequest: firstOf((_node, verb) => (verb === 'destroy' ? { kind: 'fail' } : undefined), abortable),
  },
  'deploy failed': {
    ...common,
    handler: cleanup,
    deadline: (settings) => settings.cleanupTimeoutMs,
    awaited: 'the end of the cleanup',
    next: ['deleted', 'error'],
    onFailure: 'error',
    onRequest: restartable,
  },
  deleting: {
    ...common,
    handler: cleanup,
    deadline: (settings) => settings.cleanupTimeoutMs,
    awaited: 'the end of the cleanup',
    next: ['deleted', 'error'],
    onFailure: 'error',
    onRequest: restartable,
  },
  deleted: {
    ...common,
    handler: deleted,
    deadline: () => 60_000,
    deadlineFromStart: true, // behind many other cleanups it waits for its turn for longer
    awaited: 'the release of the machine',
    next: ['available', 'cleaning', 'error'],
    onFailure: 'error',
    onRequest: restartable,
  },
  error: {
    ...common,
    handler: cleanup,
    deadline: (settings) => settings.cleanupTimeoutMs,
    awaited: 'the end of the cleanup',
    next: ['deleted', 'deleting', 'verifying', 'initializing'],
    onFailure: 'error',
    onRequest: (node, verb) => {
      if (verb !== 'destroy' && verb !== 'retry' && verb !== 'unstick') return undefined;
      if (node.instance !== undefined) return { kind: 'move', to: 'deleting' };
      // What a failed inspection or cleaning left behind goes first.
      if (node.ramdisk !== undefined) return { kind: 'again', change: (latest) => ({ ...latest, recover: true }) };
      return { kind: 'move', to: 'verifying' };
    },
    rests: (node) => (node.instance === undefined && node.ramdisk === undefined && node.recover !== true) || node.cleanup?.gaveUp === true,
  },
};

/** When its state must have ended. The record of a machine at rest (in `error` once nothing is left to clean up) keeps a deadline that nobody holds it to. */
export function deadlineOf(node: NodeRecord): number | undefined {
  return node.maintenance || states[node.state].rests(node) ? undefined : node.stateDeadline;
}

function held(node: NodeRecord): boolean {
  return !node.provide && node.todo.length === 0 && node.adopt === undefined;
}

function onActive(node: NodeRecord, verb: Verb, args: RequestArgs | undefined): RequestAnswer | undefined {
  if (verb === 'unstick') return node.step === undefined ? undefined : { kind: 'fail' };
  if (verb === 'rescue') {
    return { kind: 'move', to: 'rescuing', change: (latest) => ({ ...latest, authorizedKeys: args?.authorizedKeys }) };
  }
  if (verb === 'rebuild') {
    return { kind: 'move', to: 'building', change: (latest) => rebuilt(latest, args) };
  }
  if (!activeVerbs.some((known) => known === verb)) return undefined;
  const volume = args?.volume;
  if (verb === 'attach volume' && volume !== undefined) {
    return { kind: 'step', step: verb, change: (latest) => withVolume(latest, volume, args?.mountpoint) };
  }
  return { kind: 'step', step: verb };
}

/** Before the first try of an export: see handlers/active.ts. */
function withVolume(node: NodeRecord, volume: string, mountpoint: string | undefined): NodeRecord {
  const { instance } = node;
  if (instance === undefined) return node;
  const mountpoints = mountpoint === undefined ? instance.mountpoints : { ...instance.mountpoints, [volume]: mountpoint };
  const volumes = instance.volumes.includes(volume) ? instance.volumes : [...instance.volumes, volume];
  return { ...node, instance: { ...instance, volumes, ...(mountpoints && { mountpoints }) } };
}

/** A new deployment of the same instance: the generation rises, the old deployment and its key are history. */
function rebuilt(node: NodeRecord, args: RequestArgs | undefined): NodeRecord {
  const { instance } = node;
  if (instance === undefined) return node;
  const { adopted, preserveEphemeral, ...kept } = instance;
  return {
    ...node,
    instance: { ...kept, imageId: args?.imageId ?? instance.imageId, ...(args?.preserveEphemeral && { preserveEphemeral: true }) },
    generation: node.generation + 1,
    deployment: undefined,
    targetState: 'active',
    // what was wrong with what ran on it is overwritten: the new one is not restarted for it
    fault: node.fault?.kind === 'bmc unreachable' ? node.fault : undefined,
  };
}
