import { unicastMac } from 'cdk8s-baremetal-contract/addresses';
import { findNodeByMac, findNodeByNumber, type NodeRecord, nodeKind, reservationKind } from '../machine/index.ts';
import type { Store, Stored } from '../store/index.ts';
import { apiErrors, Refusal } from './errors.ts';

/** By UUID, number, MAC address or name, in this order: a machine may be called 42 or cafe00000001. */
export async function findNode(store: Store, key: string): Promise<Stored<NodeRecord> | undefined> {
  const direct = await store.get(nodeKind, key);
  if (direct) return direct;
  const byNumber = /^[1-9]\d{0,14}$/.test(key) ? await findNodeByNumber(store, Number(key)) : undefined;
  const found = byNumber ?? (unicastMac(key) === undefined ? undefined : await findNodeByMac(store, key));
  if (found) return found;
  const reserved = await store.get(reservationKind, `name.${key}`);
  const named = reserved && (await store.get(nodeKind, reserved.value.nodeId));
  return named?.value.name === key ? named : undefined;
}

/** Throws API_NO_NODE. */
export async function nodeOf(store: Store, key: string): Promise<Stored<NodeRecord>> {
  const record = await findNode(store, key);
  if (!record) throw new Refusal(apiErrors.API_NO_NODE({ node: key }));
  return record;
}
