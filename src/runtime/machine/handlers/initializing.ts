import type { Handler } from '../handler.ts';
import { done } from '../results.ts';

/** A machine may be used once its BMC has answered to the enrolled address and password. */
export const initializing: Handler = async ({ node, ports, signal }) => {
  const power = await ports.power.status(node, signal);
  return done('available', `the BMC answers; the power is ${power}`);
};
