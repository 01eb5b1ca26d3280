import type { Handler } from '../handler.ts';
import type { NodeRecord } from '../node-record.ts';
import { done, failed, type StepResult } from '../results.ts';

/** Takes over a machine that runs already: only its power state is read. No boot device, no power command, no disk. */
export const adopting: Handler = async ({ node, ports, signal, clock }) => {
  if (node.instance === undefined) return failed('the association with the instance is gone');
  const state = await ports.power.status(node, signal);
  const at = clock.now();
  return done('active', `${node.instance.name} was taken over; the power is ${state}`, (latest) => ({ ...latest, power: { state, at } }));
};

/** Associates it, from `manageable` or `available`. */
export function takeOver(adopt: NonNullable<NodeRecord['adopt']>, at: number): StepResult {
  return done('adopting', `instance ${adopt.uuid} (${adopt.name}) is to be taken over`, (latest) => ({
    ...latest,
    adopt: undefined,
    instance: { ...adopt, vifs: [], volumes: [], adopted: true, at },
    targetState: 'active',
  }));
}
