/**
 * The table of a machine's life: for each state its handler, how long it may last, and where it may lead.
 *
 *   initializing ─▶ available ─▶ building ─▶ prepared ─▶ deploying ─▶ deploy complete ─▶ active
 *                       ▲           │            │           │               │              │
 *                       │           │            └──── failed ───────────────┤              │ destroy, from any of them
 *                       │           ▼                        ▼               │              ▼
 *                       │         error ◀───────────── deploy failed         │           deleting
 *                       │           │  cleanup gave up       │ cleaned up    │              │
 *                       └───────────┴────── deleted ◀────────┴───────────────┴──────────────┘
 */
import type { Handler } from './handler.ts';
import { active } from './handlers/active.ts';
import { building } from './handlers/building.ts';
import { cleanup } from './handlers/cleanup.ts';
import { deployComplete } from './handlers/deploy-complete.ts';
import { deploying } from './handlers/deploying.ts';
import { available, deleted } from './handlers/free.ts';
import { initializing } from './handlers/initializing.ts';
import { prepared } from './handlers/prepared.ts';
import type { NodeRecord, NodeState, Verb } from './node-record.ts';
import type { MachineSettings } from './settings.ts';
import type { StateRules } from './transition.ts';

/** Undefined: the state may last, because nothing is under way in it. */
export type Duration = (settings: MachineSettings) => number | undefined;

export interface StateEntry extends StateRules {
  readonly handler: Handler;
  /** Which limit on concurrency counts: any work, or image writing. */
  readonly lane: 'general' | 'write';
  /** What did not happen when the deadline is missed, for the diagnosis. */
  readonly awaited: string;
  /** What a request leads to; undefined: there is nothing to do for it here. */
  readonly onRequest: (node: NodeRecord, verb: Verb) => RequestAnswer | undefined;
  /** Nothing is to be done until a request comes. */
  readonly rests: (node: NodeRecord) => boolean;
}

export type RequestAnswer =
  /** To this state at once, interrupting the handler. */
  | { readonly kind: 'move'; readonly to: NodeState }
  /** This step of the state that it is in, after what is under way. */
  | { readonly kind: 'step'; readonly step: Verb };

const destroyable: StateEntry['onRequest'] = (node, verb) =>
  verb === 'destroy' && node.instance !== undefined ? { kind: 'move', to: 'deleting' } : undefined;
const nothing = (): undefined => undefined;
const never = (): boolean => false;
const unlimited: Duration = () => undefined;
const common = { lane: 'general', deadlineFromStart: false, rests: never } as const;

export const states: Readonly<Record<NodeState, StateEntry>> = {
  initializing: {
    ...common,
    handler: initializing,
    deadline: () => 600_000,
    awaited: 'an answer from the BMC',
    next: ['available', 'error'],
    onFailure: 'error',
    onRequest: nothing,
  },
  available: {
    ...common,
    handler: available,
    deadline: unlimited,
    awaited: 'an instance',
    next: ['building', 'deleting'],
    onFailure: 'available',
    onRequest: destroyable,
    rests: (node) => node.instance === undefined,
  },
  building: {
    ...common,
    handler: building,
    deadline: (settings) => settings.buildTimeoutMs,
    awaited: 'the end of the preparations',
    next: ['prepared', 'error', 'deleting'],
    onFailure: 'error',
    onRequest: destroyable,
  },
  prepared: {
    ...common,
    handler: prepared,
    deadline: (settings) => settings.pxeDeployTimeoutMs,
    awaited: 'POST from the deploy ramdisk',
    next: ['deploying', 'deploy failed', 'deleting'],
    onFailure: 'deploy failed',
    onRequest: destroyable,
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
    onRequest: destroyable,
  },
  'deploy complete': {
    ...common,
    handler: deployComplete,
    deadline: (settings) => settings.completeTimeoutMs,
    awaited: 'the first boot from disk',
    next: ['active', 'deploy failed', 'deleting'],
    onFailure: 'deploy failed',
    onRequest: destroyable,
  },
  active: {
    ...common,
    handler: active,
    deadline: unlimited,
    awaited: 'a request',
    next: ['deleting'],
    onFailure: 'active',
    onRequest: (node, verb) => (verb === 'destroy' || verb === 'retry' ? destroyable(node, verb) : { kind: 'step', step: verb }),
    rests: (node) => node.step === undefined,
  },
  'deploy failed': {
    ...common,
    handler: cleanup,
    deadline: (settings) => settings.cleanupTimeoutMs,
    awaited: 'the end of the cleanup',
    next: ['deleted', 'error'],
    onFailure: 'error',
    onRequest: nothing,
  },
  deleting: {
    ...common,
    handler: cleanup,
    deadline: (settings) => settings.cleanupTimeoutMs,
    awaited: 'the end of the cleanup',
    next: ['deleted', 'error'],
    onFailure: 'error',
    onRequest: nothing,
  },
  deleted: {
    ...common,
    handler: deleted,
    deadline: () => 60_000,
    awaited: 'the release of the machine',
    next: ['available', 'error'],
    onFailure: 'error',
    onRequest: nothing,
  },
  error: {
    ...common,
    handler: cleanup,
    deadline: (settings) => settings.cleanupTimeoutMs,
    awaited: 'the end of the cleanup',
    next: ['deleted', 'deleting', 'initializing'],
    onFailure: 'error',
    onRequest: (node, verb) => {
      if (verb !== 'destroy' && verb !== 'retry') return undefined;
      return { kind: 'move', to: node.instance === undefined ? 'initializing' : 'deleting' };
    },
    rests: (node) => node.instance === undefined || node.cleanup?.gaveUp === true,
  },
};
