/** Which address a client gets, and why it may not have another: reservations before everything, then what it had, then the pool. Reads leases, changes none. */
import { formatIpv4, parseIpv4, subnetContains } from './ipv4.ts';
import type { DhcpContext } from './reply.ts';
import type { CompiledSubnet } from './settings.ts';

/** Who asks, and where. */
export interface Client {
  readonly mac: string;
  readonly subnet: CompiledSubnet;
  readonly context: DhcpContext;
}

/** RFC 2131 section 4.3.1's order, with reservations before everything. */
export function chooseAddress(client: Client, requested: string | undefined): { address?: string; reason: string } {
  const { mac, subnet, context } = client;
  const reserved = reservedAddress(client);
  if (reserved !== undefined) {
    if (context.leases.isFreeFor(reserved, mac, context.nowMs)) return { address: reserved, reason: 'the address is reserved for it' };
    if (subnet.pools.length === 0) return { reason: `its reserved address ${reserved} ${occupation(client, reserved)}` };
  }
  const own = context.leases.ofMac(mac).findLast((lease) => isDynamic(client, lease.address));
  if (own) return { address: own.address, reason: 'it had the address before' };
  if (requested !== undefined && isDynamic(client, requested))
    return { address: requested, reason: 'it asked for the address, which is free' };
  const free = freePoolAddress(client);
  if (free !== undefined) return { address: free, reason: 'an address of the pool' };
  return {
    reason:
      subnet.pools.length === 0 ? `it has no reservation in ${subnet.cidr}, and there is no pool` : `the pool of ${subnet.cidr} is used up`,
  };
}

/** Why the client may not have the address, as a sentence for it; undefined when it may. */
export function whyNot(client: Client, address: string): string | undefined {
  const { mac, subnet, context } = client;
  if (!inSubnet(subnet, address)) return `${address} is not in ${subnet.cidr}`;
  const reserved = reservedAddress(client);
  if (reserved !== address) {
    if (reserved !== undefined && context.leases.isFreeFor(reserved, mac, context.nowMs))
      return `${reserved} is reserved for it, not ${address}`;
    if (!isInPool(subnet, address)) return `${address} is not given out here`;
    // who holds it already keeps it until the next start
    if (isReservedForOther(client, address) && context.leases.holder(address, context.nowMs)?.mac !== mac)
      return `${address} is reserved for another client`;
  }
  return context.leases.isFreeFor(address, mac, context.nowMs) ? undefined : `${address} ${occupation(client, address)}`;
}

export function reservedAddress({ mac, subnet, context }: Client): string | undefined {
  const configured = context.settings.reservations.get(mac)?.find(({ address }) => inSubnet(subnet, address));
  if (configured) return configured.address;
  const recorded = context.machine?.interfaces.find((boot) => boot.mac === mac)?.address;
  const number = parseIpv4(recorded ?? '');
  // a record cannot claim our own address, the gateway's, or one that the configuration reserves for another MAC
  return number !== undefined && subnetContains(subnet, number) && !subnet.excluded.has(number) ? recorded : undefined;
}

export function hostnameOf({ mac, subnet, context }: Client): string | undefined {
  const configured = context.settings.reservations.get(mac)?.find(({ address }) => inSubnet(subnet, address));
  return configured?.hostname ?? context.machine?.interfaces.find((boot) => boot.mac === mac)?.hostname;
}

export function inSubnet(subnet: CompiledSubnet, address: string): boolean {
  const number = parseIpv4(address);
  return number !== undefined && subnetContains(subnet, number);
}

/** Another client's MAC is nobody's business on the wire, so it is not named. */
function occupation({ mac, context }: Client, address: string): string {
  const lease = context.leases.get(address);
  if (lease?.state === 'declined') return 'is in quarantine, since it was found in use';
  return lease && lease.mac !== mac ? 'is held by another client' : 'is not free';
}

/** Starts at a place that depends on the MAC, so that a machine tends to get its address again even without a record; prefers addresses never used. */
function freePoolAddress(client: Client): string | undefined {
  const { mac, subnet, context } = client;
  const total = subnet.pools.reduce((sum, { first, last }) => sum + last - first + 1, 0);
  let index = total === 0 ? 0 : hash(mac) % total;
  let used: string | undefined;
  for (let tried = 0; tried < total; tried++, index = (index + 1) % total) {
    const address = formatIpv4(poolAddress(subnet, index));
    if (!isDynamic(client, address)) continue;
    if (!context.leases.get(address)) return address;
    used ??= address;
  }
  return used;
}

function poolAddress(subnet: CompiledSubnet, index: number): number {
  let left = index;
  for (const { first, last } of subnet.pools) {
    if (left <= last - first) return first + left;
    left -= last - first + 1;
  }
  return subnet.network; // not reached: index is below the pools' size; the network address is always excluded
}

function isDynamic(client: Client, address: string): boolean {
  const { subnet, mac, context } = client;
  return isInPool(subnet, address) && context.leases.isFreeFor(address, mac, context.nowMs) && !isReservedForOther(client, address);
}

function isReservedForOther({ mac, context }: Client, address: string): boolean {
  return (context.reservedFor?.(address) ?? mac) !== mac;
}

function isInPool(subnet: CompiledSubnet, address: string): boolean {
  const number = parseIpv4(address);
  if (number === undefined || subnet.excluded.has(number)) return false;
  return subnet.pools.some(({ first, last }) => number >= first && number <= last);
}

/** FNV-1a, 32 bits: spreads MACs that differ in their last octet only. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
  return value;
}
