/**
 * What no two machines may share: names, hardware addresses, BMCs, numbers. The store has no transaction over records, so each is a record of its own, made
 * before the machine's: the store refuses to create an id twice.
 */
import { CodedError } from 'cdk8s-baremetal-contract';
import { z } from 'zod';
import type { Clock } from '../core/clock.ts';
import { isPowerUrl, parsePowerUrl } from '../power/index.ts';
import { type Kind, modify, type Store } from '../store/index.ts';
import { time } from './deployment-record.ts';
import { machineErrors } from './errors.ts';
import { type NodeRecord, nodeKind } from './node-record.ts';
import { reasonOf } from './reason-of.ts';

/** Ids: `mac.…`, `name.…`, `bmc.…`, `number.…`, `address.…`. */
const reservation = z.object({ nodeId: z.string().min(1), at: time });
export type Reservation = z.infer<typeof reservation>;
export const reservationKind: Kind<Reservation> = { name: 'reservation', parse: (value) => reservation.parse(value) };

const counter = z.object({ last: z.number().int().nonnegative() });
const counterKind: Kind<z.infer<typeof counter>> = { name: 'counter', parse: (value) => counter.parse(value) };

interface Context {
  readonly store: Store;
  readonly clock: Clock;
}

/**
 * A reservation whose machine does not exist, or does not have what is reserved, is what a crash in the middle of an enrolment or of a correction leaves;
 * after this time it may be taken.
 */
const ABANDONED_MS = 60_000;

const NAMES: Readonly<Record<string, string>> = { mac: 'MAC address', bmc: 'BMC' };

/** What no two machines may share. A PDU or a hypervisor (iboot, virtual) switches many at one address, a BMC only its own. */
export function identities({ name, interfaces, bmc }: Pick<NodeRecord, 'name' | 'interfaces' | 'bmc'>): { what: string; value: string }[] {
  const own = bmc.driver === 'ipmi' || bmc.driver === 'redfish';
  return [
    { what: 'name', value: name },
    ...interfaces.map(({ mac }) => ({ what: 'mac', value: mac })),
    ...(own ? [{ what: 'bmc', value: bmcIdentity(bmc) }] : []),
  ];
}

/** One text for one BMC in whatever spelling. A Redfish service may have several machines, told apart by the path of their system. */
function bmcIdentity({ driver, address, port }: NodeRecord['bmc']): string {
  const target = isPowerUrl(address) ? parsePowerUrl(address) : undefined;
  if (target?.driver === 'redfish') return `${target.address.toLowerCase()}${target.system ?? ''}_${target.port}`;
  return `${address.toLowerCase()}_${port ?? (driver === 'ipmi' ? 623 : 443)}`;
}

/** Ids of the reservations that a machine holds. */
export function reservedBy(node: NodeRecord): string[] {
  const addresses = node.interfaces.flatMap(({ address }) => (address === undefined ? [] : [{ what: 'address', value: address }]));
  return [...identities(node), ...addresses, { what: 'number', value: String(node.number) }].map(({ what, value }) => `${what}.${value}`);
}

/** MACHINE_TAKEN when it is another machine's. False: it was its own before. */
export async function reserve({ store, clock }: Context, what: string, value: string, nodeId: string): Promise<boolean> {
  const id = `${what}.${value}`;
  const mine = { nodeId, at: clock.now() };
  const result = await store.create(reservationKind, id, mine);
  if (result.outcome === 'stored') return true;
  const { current } = result;
  if (current.value.nodeId === nodeId) return false;
  const holder = await store.get(nodeKind, current.value.nodeId);
  const used = holder !== undefined && reservedBy(holder.value).includes(id);
  const abandoned = !used && clock.now() - current.value.at >= ABANDONED_MS;
  if (abandoned && (await store.update(reservationKind, { id, value: mine }, current.version)).outcome === 'stored') return true;
  // as people write it: ids of records have no colon before a port
  const shown = what === 'bmc' ? value.replace(/_(\d+)$/, ':$1') : value;
  throw machineErrors.MACHINE_TAKEN({ what: NAMES[what] ?? what, value: shown, by: holder?.value.name ?? current.value.nodeId });
}

export async function release(store: Store, id: string, nodeId: string): Promise<void> {
  const held = await store.get(reservationKind, id);
  if (held?.value.nodeId === nodeId) await store.delete(reservationKind, held, held.version);
}

/** Numbers start at 1 and are never given out again, as a table's AUTOINCREMENT. */
export async function nextNumber(store: Store): Promise<number> {
  await store.create(counterKind, 'node-number', { last: 0 });
  const result = await modify(store, counterKind, 'node-number', ({ last }) => ({ last: last + 1 }));
  if (result.outcome === 'missing') throw machineErrors.MACHINE_INVALID({ reason: 'the counter of machine numbers was deleted meanwhile' });
  return result.record.value.last;
}

/**
 * Whether another machine holds what must be this one's alone: a sentence, or undefined. What nobody holds becomes its own, since earlier
 * programs reserved less.
 */
export async function takenBy(context: Context, node: NodeRecord): Promise<string | undefined> {
  for (const { what, value } of identities(node)) {
    try {
      await reserve(context, what, value, node.uuid);
    } catch (error) {
      if (error instanceof CodedError && error.code === 'MACHINE_TAKEN') return reasonOf(error);
      throw error;
    }
  }
  return undefined;
}
