/** What the DHCP service is told, checked once (`compileDhcpSettings`) and trusted afterwards. */
import { normalizeMac } from '../machine.ts';
import { dhcpErrors } from './errors.ts';
import { broadcastOf, type Ipv4Subnet, parseIpv4, parseIpv4Subnet, subnetContains } from './ipv4.ts';

/** Of a socket that hears broadcasts, and everything else. */
export const ANY_ADDRESS = '0.0.0.0';

export interface DhcpInterface {
  /** As the operating system names it; for logs. */
  readonly name: string;
  /** The server's own address there, sent as server identifier. */
  readonly address: string;
  /**
   * A UDP descriptor bound to the server port and to this interface (SO_BINDTODEVICE), opened by the launcher. Without it one interface only can be
   * served: a socket on 0.0.0.0 hears every network unlabelled, and one on the interface's address hears no broadcast.
   */
  readonly fd?: number;
}

export interface DhcpSubnet {
  /** E.g. 192.168.50.0/24. */
  readonly cidr: string;
  /** Addresses to give to machines without a reservation, both ends included. @default none: reservations only */
  readonly pools?: readonly { readonly first: string; readonly last: string }[];
  readonly gateway?: string;
  readonly dns?: readonly string[];
  readonly ntp?: readonly string[];
  readonly domain?: string;
  readonly mtu?: number;
  /** Relays (giaddr) whose requests belong here although their address does not. @default relays inside the subnet */
  readonly relays?: readonly string[];
  /** Where boot files come from. @default the address of the interface that heard the request */
  readonly bootServer?: string;
}

export interface DhcpReservation {
  readonly mac: string;
  readonly address: string;
  readonly hostname?: string;
}

export interface DhcpSettings {
  /**
   * `server` owns addresses. `proxy` adds only boot information to what another DHCP server on the same network offers (PXE 2.1 proxyDHCP),
   * so that the other one need not be stopped.
   */
  readonly mode: 'server' | 'proxy';
  readonly interfaces: readonly DhcpInterface[];
  readonly subnets: readonly DhcpSubnet[];
  /** Win over addresses that machine records name, and over the pools. */
  readonly reservations?: readonly DhcpReservation[];
  /**
   * What MACs that no machine has are answered. `offer`: an address of the pool, and no boot file. `discover`: nothing, but `onDiscovered` hears of those
   * that boot over the network. @default 'ignore'
   */
  readonly unknownMachines?: 'ignore' | 'offer' | 'discover';
  /**
   * Before an address that nobody is known to hold is offered, it is looked for on the network for this long (ARP), and passed over when somebody has it.
   * 0: not at all. @default 300; PXE ROMs wait 4 s for their first offer
   */
  readonly probeMs?: number;
  /** Refuse (NAK) what a client wrongly believes even without a record of it. Only where no other server serves the network. @default false */
  readonly authoritative?: boolean;
  /** @default 3600 */
  readonly leaseSeconds?: number;
  /** Longest lease that a client may ask for. @default leaseSeconds */
  readonly maxLeaseSeconds?: number;
  /** How long an offered address is held back. @default 60: the 4 + 8 + 16 + 32 s over which a PXE ROM repeats itself */
  readonly offerSeconds?: number;
  /** How long a declined address is given to nobody. @default 3600 */
  readonly declineSeconds?: number;
  /** @default 67, 68, 4011 */
  readonly ports?: { readonly server?: number; readonly client?: number; readonly bootServer?: number };
  /**
   * Where an interface without a descriptor is listened on. Another address than 0.0.0.0 hears what is sent to it, by relays and in renewals, and no
   * machine's broadcast. @default 0.0.0.0
   */
  readonly listen?: string;
  /** Where clients without an address are answered. @default 255.255.255.255 */
  readonly broadcastAddress?: string;
  /** In `server` mode, listen on the client port too, where replies of rival servers can be heard. @default false */
  readonly watchReplies?: boolean;
}

export interface CompiledSubnet extends Ipv4Subnet {
  readonly config: DhcpSubnet;
  readonly pools: readonly { readonly first: number; readonly last: number }[];
  /** Never handed out dynamically: network, broadcast, gateway, servers, reservations. */
  readonly excluded: ReadonlySet<number>;
  readonly relays: ReadonlySet<string>;
}

export interface CompiledDhcpSettings {
  readonly mode: 'server' | 'proxy';
  readonly interfaces: readonly DhcpInterface[];
  readonly ownAddresses: ReadonlySet<string>;
  readonly subnets: readonly CompiledSubnet[];
  readonly reservations: ReadonlyMap<string, readonly DhcpReservation[]>;
  readonly unknownMachines: 'ignore' | 'offer' | 'discover';
  readonly probeMs: number;
  readonly authoritative: boolean;
  readonly leaseSeconds: number;
  readonly maxLeaseSeconds: number;
  readonly offerMs: number;
  readonly declineMs: number;
  readonly ports: { readonly server: number; readonly client: number; readonly bootServer: number };
  readonly listen: string;
  readonly broadcastAddress: string;
  readonly watchReplies: boolean;
}

/** Throws the DHCP_ error of the first fault. */
export function compileDhcpSettings(settings: DhcpSettings): CompiledDhcpSettings {
  const { interfaces, ports } = settings;
  if (interfaces.length === 0) throw dhcpErrors.DHCP_NO_INTERFACE({});
  if (interfaces.length > 1 && interfaces.some(({ fd }) => fd === undefined))
    throw dhcpErrors.DHCP_INTERFACES_UNLABELLED({ names: interfaces.map(({ name }) => name) });
  for (const { name, address } of interfaces) requireAddress(`the address of interface ${name}`, address);
  const broadcastAddress = settings.broadcastAddress ?? '255.255.255.255';
  requireAddress('broadcastAddress', broadcastAddress);
  const listen = settings.listen ?? ANY_ADDRESS;
  requireAddress('listen', listen);

  const reservations = (settings.reservations ?? []).map((reservation) => ({ ...reservation, mac: requireMac(reservation.mac) }));
  const own = interfaces.map(({ address }) => address);
  const subnets = settings.subnets.map((subnet) => compileSubnet(subnet, own, reservations));
  refuseOverlaps(subnets);
  const leaseSeconds = requireSeconds('leaseSeconds', settings.leaseSeconds ?? 3600);
  return {
    mode: settings.mode,
    interfaces,
    ownAddresses: new Set(own),
    subnets,
    reservations: indexReservations(reservations, subnets),
    unknownMachines: settings.unknownMachines ?? 'ignore',
    probeMs: settings.probeMs ?? 300,
    authoritative: settings.authoritative ?? false,
    leaseSeconds,
    maxLeaseSeconds: Math.max(leaseSeconds, requireSeconds('maxLeaseSeconds', settings.maxLeaseSeconds ?? leaseSeconds)),
    offerMs: requireSeconds('offerSeconds', settings.offerSeconds ?? 60) * 1000,
    declineMs: requireSeconds('declineSeconds', settings.declineSeconds ?? 3600) * 1000,
    ports: { server: ports?.server ?? 67, client: ports?.client ?? 68, bootServer: ports?.bootServer ?? 4011 },
    listen,
    broadcastAddress,
    watchReplies: settings.watchReplies ?? false,
  };
}

/** The subnet that an address belongs to. */
export function subnetOf(settings: CompiledDhcpSettings, address: string): CompiledSubnet | undefined {
  const number = parseIpv4(address);
  return number === undefined ? undefined : settings.subnets.find((subnet) => subnetContains(subnet, number));
}

function compileSubnet(subnet: DhcpSubnet, own: readonly string[], reservations: readonly DhcpReservation[]): CompiledSubnet {
  const parsed = parseIpv4Subnet(subnet.cidr);
  if (!parsed) throw dhcpErrors.DHCP_BAD_SUBNET({ value: subnet.cidr });
  const named = {
    gateway: subnet.gateway ? [subnet.gateway] : [],
    dns: subnet.dns ?? [],
    ntp: subnet.ntp ?? [],
    relays: subnet.relays ?? [],
    bootServer: subnet.bootServer ? [subnet.bootServer] : [],
  };
  for (const [field, addresses] of Object.entries(named))
    for (const address of addresses) requireAddress(`${field} of ${subnet.cidr}`, address);
  const pools = (subnet.pools ?? []).map(({ first, last }) => {
    const [from, to] = [parseIpv4(first), parseIpv4(last)];
    if (from === undefined || to === undefined || from > to || !subnetContains(parsed, from) || !subnetContains(parsed, to))
      throw dhcpErrors.DHCP_POOL_OUTSIDE_SUBNET({ subnet: subnet.cidr, first, last });
    return { first: from, last: to };
  });
  const excluded = [...own, ...named.gateway, ...named.bootServer, ...named.relays, ...reservations.map(({ address }) => address)];
  return {
    ...parsed,
    config: subnet,
    pools,
    excluded: new Set([
      ...excluded.flatMap((address) => parseIpv4(address) ?? []),
      // a /31 or /32 has no network and broadcast address (RFC 3021)
      ...(parsed.prefix < 31 ? [parsed.network, broadcastOf(parsed)] : []),
    ]),
    relays: new Set(named.relays),
  };
}

function refuseOverlaps(subnets: readonly CompiledSubnet[]): void {
  for (const [index, first] of subnets.entries())
    for (const second of subnets.slice(index + 1))
      if (subnetContains(first, second.network) || subnetContains(second, first.network))
        throw dhcpErrors.DHCP_SUBNET_OVERLAP({ first: first.cidr, second: second.cidr });
}

function indexReservations(
  reservations: readonly DhcpReservation[],
  subnets: readonly CompiledSubnet[],
): ReadonlyMap<string, readonly DhcpReservation[]> {
  const byMac = new Map<string, DhcpReservation[]>();
  const byAddress = new Map<string, string>();
  for (const reservation of reservations) {
    const { mac, address } = reservation;
    const number = requireAddress(`the reservation of ${mac}`, address);
    if (!subnets.some((subnet) => subnetContains(subnet, number))) throw dhcpErrors.DHCP_RESERVATION_OUTSIDE({ mac, address });
    const other = byAddress.get(address);
    if (other !== undefined) throw dhcpErrors.DHCP_RESERVATION_DUPLICATE({ address, mac, other });
    byAddress.set(address, mac);
    byMac.set(mac, [...(byMac.get(mac) ?? []), reservation]);
  }
  return byMac;
}

function requireAddress(field: string, value: string): number {
  const number = parseIpv4(value);
  if (number === undefined) throw dhcpErrors.DHCP_BAD_ADDRESS({ field, value });
  return number;
}

function requireMac(value: string): string {
  const mac = normalizeMac(value);
  if (mac === undefined) throw dhcpErrors.DHCP_BAD_MAC({ field: 'a reservation', value });
  return mac;
}

function requireSeconds(field: string, value: number): number {
  // 0xffffffff means "for ever" (RFC 2131 section 3.3), which would never give an address back
  if (!Number.isInteger(value) || value < 1 || value > 0xfffffffe) throw dhcpErrors.DHCP_BAD_TIME({ field, value });
  return value;
}
