/** The states of a machine without an instance. */
import type { Handler } from '../handler.ts';
import { done, waitFor } from '../results.ts';
import { takeOver } from './adopting.ts';

/** Spawn associates by compare-and-swap, on any replica; the owner starts the work. */
export const available: Handler = async ({ node, clock }) => {
  const { instance, adopt } = node;
  if (instance !== undefined) return done('building', `instance ${instance.uuid} (${instance.name}) is to be built`);
  return adopt === undefined ? waitFor() : takeOver(adopt, clock.now());
};

/** The association is gone already. */
export const deleted: Handler = async ({ settings }) => {
  const wipe = settings.cleanAfterDestroy;
  return wipe === 'none'
    ? done('available', 'free again')
    : done('cleaning', 'to be cleaned before it is free', (latest) => ({ ...latest, wipe }));
};
