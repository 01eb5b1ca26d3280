/** Network interfaces of an enrolled machine: each MAC, and each address that DHCP keeps for one, belongs to one machine, by a reservation of its own. */
import { unicastMac } from 'cdk8s-baremetal-contract/addresses';
import type { Clock } from '../core/clock.ts';
import { machineErrors, type NodeRecord, nodeKind, reservationKind } from '../machine/index.ts';
import { release, reserve, reservedBy, takenBy } from '../machine/reservations.ts';
import { type ModifyResult, modify, type Store, type Stored } from '../store/index.ts';
import { apiErrors, Refusal } from './errors.ts';

interface Context {
  readonly store: Store;
  readonly clock: Clock;
}

/** From the choice of the boot interface to its last use, a deployment counts on them. */
export const DEPLOYING: ReadonlySet<string> = new Set(['building', 'prepared', 'deploying', 'deploy complete']);

export async function addInterface(
  { store, clock }: Context,
  nodeId: string,
  given: { readonly mac: string; readonly address?: string | undefined; readonly datapathId?: string; readonly portNo?: number },
): Promise<Stored<NodeRecord>> {
  const mac = macOf(given.mac);
  const { mac: _text, address, ...cable } = given;
  const taken: string[] = [];
  const take = async (what: string, value: string): Promise<void> => {
    if (await reserve({ store, clock }, what, value, nodeId)) taken.push(`${what}.${value}`);
  };
  try {
    await take('mac', mac);
    if (address !== undefined) await take('address', address);
    return await change(store, nodeId, (node) => {
      const refuse = (what: string, value: string) => machineErrors.MACHINE_TAKEN({ what, value, by: node.name });
      if (node.interfaces.some((known) => known.mac === mac)) throw refuse('mac', mac);
      if (address !== undefined && node.interfaces.some((known) => known.address === address)) throw refuse('address', address);
      return { ...node, interfaces: [...node.interfaces, { ...cable, mac, ...(address !== undefined && { address }) }] };
    });
  } catch (error) {
    for (const id of taken) await release(store, id, nodeId);
    throw error;
  }
}

export async function removeInterface({ store }: Context, nodeId: string, given: string): Promise<Stored<NodeRecord>> {
  const mac = macOf(given);
  let address: string | undefined;
  const record = await change(store, nodeId, (node) => {
    const gone = node.interfaces.find((known) => known.mac === mac);
    const rest = node.interfaces.filter((known) => known !== gone);
    if (gone === undefined) throw new Refusal(apiErrors.API_NO_NODE({ node: `with the interface ${mac}` }));
    if (rest.length === 0) throw machineErrors.MACHINE_INVALID({ reason: `${mac} is its only interface` });
    // The cleanup clears the ports of the interfaces that are there.
    if (gone.vif !== undefined) throw new Refusal(apiErrors.API_PLUGGED({ node: node.name, mac, vif: gone.vif }));
    address = gone.address;
    return { ...node, interfaces: rest };
  });
  await release(store, `mac.${mac}`, nodeId);
  if (address !== undefined) await release(store, `address.${address}`, nodeId);
  return record;
}

/**
 * Makes what the corrected machine shall have (its BMC's address) its own, then does `work`, then lets go of what the machine does not have by
 * then; of the new one, when `work` fails. Throws API_REFUSED when another machine has it.
 */
export async function reserving(
  { store, clock }: Context,
  corrected: NodeRecord,
  work: () => Promise<ModifyResult<NodeRecord>>,
): Promise<ModifyResult<NodeRecord>> {
  const held = async () => {
    const mine = await store.list(reservationKind, { where: ({ nodeId }) => nodeId === corrected.uuid });
    return mine.filter(({ id }) => id.startsWith('bmc.'));
  };
  const before = await held();
  const taken = await takenBy({ store, clock }, corrected);
  if (taken !== undefined) throw new Refusal(apiErrors.API_REFUSED({ reason: taken }));
  const all = await held();
  const keepOnly = async (ids: readonly string[]): Promise<void> => {
    for (const one of all) if (!ids.includes(one.id)) await store.delete(reservationKind, one, one.version);
  };
  const result = await work().catch(async (error: unknown) => {
    await keepOnly(before.map(({ id }) => id));
    throw error;
  });
  await keepOnly(result.outcome === 'missing' ? [] : reservedBy(result.record.value));
  return result;
}

async function change(store: Store, nodeId: string, next: (node: NodeRecord) => NodeRecord): Promise<Stored<NodeRecord>> {
  const result = await modify(store, nodeKind, nodeId, (node) => {
    if (DEPLOYING.has(node.state)) throw new Refusal(apiErrors.API_DEPLOYING({ node: node.name, state: node.state }));
    return next(node);
  });
  if (result.outcome === 'missing') throw machineErrors.MACHINE_UNKNOWN({ node: nodeId });
  return result.record;
}

function macOf(text: string): string {
  const mac = unicastMac(text);
  if (mac === undefined) throw new Refusal(apiErrors.API_BAD_MAC({ mac: text }));
  return mac;
}
