/** The states of a machine without an instance. */
import type { Handler } from '../handler.ts';
import { done, waitFor } from '../results.ts';

/** Spawn associates by compare-and-swap, on any replica; the owner starts the work. */
export const available: Handler = async ({ node }) =>
  node.instance === undefined ? waitFor() : done('building', `instance ${node.instance.uuid} (${node.instance.name}) is to be built`);

/** The association is gone already; here a machine will pass through cleaning one day. */
export const deleted: Handler = async () => done('available', 'free again');
