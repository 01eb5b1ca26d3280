/** From the enrolment to a machine that may be used: the BMC answers, the record is alone, what was asked for first is done. */
import type { Handler } from '../handler.ts';
import { isIncomplete } from '../node-record.ts';
import { done, failed, waitFor } from '../results.ts';
import { takeOver } from './adopting.ts';

/** A machine that was discovered stays until somebody says where its BMC is. */
export const enrolled: Handler = async ({ node }) => (isIncomplete(node) ? waitFor() : done('verifying', 'to be verified'));

/** The BMC answers to the enrolled address and password, and no other machine claims the same interfaces or the same BMC. */
export const verifying: Handler = async ({ node, ports, signal, clock, takenBy }) => {
  const taken = await takenBy();
  if (taken !== undefined) return failed(taken);
  const state = await ports.power.status(node, signal);
  const at = clock.now();
  return done('manageable', `the BMC answers; the power is ${state}`, (latest) => ({ ...latest, power: { state, at } }));
};

/** Held here on request; otherwise a station on the way. */
export const manageable: Handler = async ({ node, clock }) => {
  if (node.adopt !== undefined) return takeOver(node.adopt, clock.now());
  const [first] = node.todo;
  if (first === 'inspect') return done('inspecting', 'an inspection was asked for');
  if (first === 'clean') return done('cleaning', 'a cleaning was asked for');
  return node.provide ? done('initializing', 'to be made available') : waitFor();
};
