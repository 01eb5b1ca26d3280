/** Old faults of the original, put back: a test suite that does not notice them is worth nothing. */

import { Secret } from 'cdk8s-baremetal-contract/secret';
import {
  type ClaimPolicy,
  claimPolicy,
  cleanupSteps,
  keyMatches,
  type NodeRecord,
  type StateEntry,
  states,
} from 'cdk8s-baremetal-runtime/machine/index';
import type { Faults } from './world.ts';

/** N3: the key stays good until the instance is destroyed, and a POST deploys, whatever the machine is doing. */
const replayable: ClaimPolicy = {
  refuse: (node, { key }) => {
    const { keyHash, usedKeyHash } = node.ramdisk ?? node.deployment ?? {};
    return keyMatches(new Secret(key), keyHash ?? usedKeyHash) ? undefined : { kind: 'wrong-key' };
  },
  accepted: (node, request, now) => {
    const taken = claimPolicy.accepted(node, request, now);
    if (taken === undefined || node.deployment === undefined || node.ramdisk !== undefined) return taken;
    return { ...taken, state: 'deploying', stateSince: now, stateDeadline: undefined, step: undefined };
  },
};

/** N8: who has to write which image is known to the process that took the POST, and to nobody else. */
function queueInMemory(): Faults['states'] {
  return () => {
    const queue = new Set<string>();
    const remembering: StateEntry = {
      ...states.prepared,
      handler: async (context) => {
        const result = await states.prepared.handler(context);
        if (result.kind === 'done') queue.add(context.node.uuid);
        return result;
      },
    };
    return { ...states, prepared: remembering, deploying: { ...states.deploying, rests: (node: NodeRecord) => !queue.has(node.uuid) } };
  };
}

/** N11: a cleanup ends at its first failing step, and the machine is free. */
function shortCleanup(): Faults['states'] {
  const handler: StateEntry['handler'] = async (context) => {
    if (context.node.instance === undefined) return states.deleting.handler(context);
    for (const { run } of cleanupSteps) {
      const failed = await run(context, context.signal).then(
        () => false,
        () => !context.signal.aborted,
      );
      if (failed) break;
    }
    const change = (node: NodeRecord): NodeRecord => ({
      ...node,
      instance: undefined,
      deployment: undefined,
      ramdisk: undefined,
      targetState: undefined,
    });
    return { kind: 'done', next: 'deleted', reason: 'cleaned up as far as it went', change };
  };
  const table = { ...states };
  for (const name of ['deploy failed', 'deleting', 'error'] as const) table[name] = { ...states[name], handler };
  return () => table;
}

export const mutations: Readonly<Record<string, () => Faults>> = {
  'N3: a key that is good for more than one use': () => ({ claimPolicy: replayable }),
  'N8: a queue in memory': () => ({ states: queueInMemory() ?? (() => states) }),
  'N11: a cleanup that ends at its first failure': () => ({ states: shortCleanup() ?? (() => states) }),
  'no epoch check': () => ({ isCurrent: (latest, begun) => latest.uuid === begun.uuid }),
};
