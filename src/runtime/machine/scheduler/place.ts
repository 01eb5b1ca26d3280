/** Finds a machine and associates the instance with it, atomically: when another request is quicker, the next candidate is taken. */
import { machineErrors } from '../errors.ts';
import { type NodeRecord, nodeKind } from '../node-record.ts';
import { type SpawnRequest, spawn, type VerbContext } from '../verbs.ts';
import { type ScheduleRequest, schedule } from './schedule.ts';

export type PlaceRequest = SpawnRequest & Omit<ScheduleRequest, 'instanceUuid'>;

/**
 * Resolves to the machine's record with the association; asking again for the same instance finds the same machine. MACHINE_NO_HOST names the
 * reason of each machine. With an approval the plan of the best candidate must be the one that was agreed to.
 */
export async function place(context: VerbContext, { flavor, node: only, spread, ...instance }: PlaceRequest): Promise<NodeRecord> {
  const nodes = (await context.store.list(nodeKind, { onInvalid: () => undefined })).map(({ value }) => value);
  const placed = nodes.find((node) => node.instance?.uuid === instance.uuid);
  if (placed !== undefined) return placed;
  const request = { instanceUuid: instance.uuid, flavor, ...(only !== undefined && { node: only }), ...(spread && { spread }) };
  const { candidates, refusals } = schedule(nodes, request);
  const lost: { node: string; reason: string }[] = [];
  for (const candidate of candidates) {
    const outcome = await spawn(context, candidate.uuid, { ...instance, flavorId: flavor.id });
    if (outcome.kind === 'associated') return outcome.node;
    lost.push({ node: candidate.name, reason: outcome.reason });
  }
  throw machineErrors.MACHINE_NO_HOST({ flavor: flavor.name, refusals: [...lost, ...refusals] });
}
