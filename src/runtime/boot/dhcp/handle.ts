/** `server` mode: one message in, what to answer out (RFC 2131 section 4.3). No sockets, no clock: all of it comes in the context. */
import { type Client, chooseAddress, hostnameOf, inSubnet, reservedAddress, whyNot } from './address-choice.ts';
import { type DhcpMessage, NO_ADDRESS } from './codec.ts';
import { formatIpv4 } from './ipv4.ts';
import type { Lease } from './lease.ts';
import {
  addressOption,
  clientArch,
  clientGuid,
  clientKind,
  type DhcpType,
  macOf,
  messageType,
  numberOption,
  OPTION,
  RELAY,
  relayAgentOptions,
  textValue,
} from './options.ts';
import type { DhcpProblem } from './problems.ts';
import { handleProxy, type ObservedBindings } from './proxy.ts';
import {
  bootInformation,
  type DhcpContext,
  type DhcpExchange,
  type DhcpOutcome,
  leaseTimeOptions,
  networkOptions,
  type RivalServer,
  reply,
} from './reply.ts';
import { type CompiledSubnet, subnetOf } from './settings.ts';

const SHORTEST_LEASE_SECONDS = 60; // what a client may ask for at least: less would only make traffic
/** Tells iPXE (175, sub-option 176) not to wait for a proxyDHCP server: this one knows everything. Saves about 2 s a boot. */
const IPXE_NO_PROXY = Uint8Array.of(176, 1, 1);

/** One client's message, checked for what every type needs. */
interface Query extends Client {
  readonly message: DhcpMessage;
  readonly type: DhcpType;
}

/** Answers a message in either mode; `observed` is where proxy mode notes who holds which address. */
export function handleDhcp(message: DhcpMessage, context: DhcpContext, observed: ObservedBindings): DhcpOutcome {
  const mac = macOf(message);
  const type = messageType(message);
  const arch = clientArch(message);
  const subject = { ...(mac && { mac }), ...(type && { type }), ...(arch !== undefined && { arch }) };
  const ignore = (reason: string, rival?: RivalServer): DhcpOutcome => ({
    replies: [],
    changed: [],
    exchange: { ...subject, answer: 'none', reason },
    ...(rival && { rival }),
  });

  if (message.op === 'reply') {
    const rival = rivalReply(message, context, mac);
    return ignore(rival ? `a reply of another server, ${rival.serverId}` : 'a reply, and we are the server', rival);
  }
  if (!mac) return ignore('its hardware address is not an Ethernet MAC');
  if (!type) return ignore('it is plain BOOTP, or of a type that no client sends');
  // a shape that PXE forbids; such a request was garbled or made up
  if (clientGuid(message).state === 'malformed') return ignore('its GUID (option 97) is not a zero and 16 bytes');
  if (context.settings.mode === 'proxy') return handleProxy({ message, mac, type, context, observed, ignore, subject });

  const chosen = addressOption(message, OPTION.serverId);
  if (chosen !== undefined && context.peers?.has(chosen) && !context.settings.ownAddresses.has(chosen)) {
    withdrawOffer(mac, context);
    return ignore(`it chose our replica, ${chosen}`);
  }
  const rival = chosenRival(message, type, mac, context);
  if (rival) {
    withdrawOffer(mac, context);
    return ignore(`it chose another server, ${rival.serverId}`, rival);
  }
  if (!isEnrolled(context) && context.settings.unknownMachines !== 'offer') return ignore(unknown(mac, context));
  const subnet = selectSubnet(message, context);
  if (typeof subnet === 'string') {
    const relayed = message.giaddr !== NO_ADDRESS;
    const subjectOfProblem = relayed ? message.giaddr : context.received.interface.name;
    return {
      ...ignore(subnet),
      problem: { kind: relayed ? 'unknown-relay' : 'unserved-interface', subject: subjectOfProblem, mac, detail: subnet },
    };
  }

  const query: Query = { message, mac, type, subnet, context };
  const answer = dispatch(query);
  return {
    replies: answer.replies ?? [],
    changed: answer.changed ?? [],
    ...(answer.unproven !== undefined && { unproven: answer.unproven }),
    ...(answer.problem && { problem: answer.problem }),
    exchange: { ...subject, ...(answer.address && { address: answer.address }), answer: answer.answer ?? 'none', reason: answer.reason },
  };
}

/** Discovered is not enrolled: an address is given to machines that somebody answers for. */
function isEnrolled({ machine }: DhcpContext): boolean {
  return machine !== undefined && machine.incomplete !== true;
}

function unknown(mac: string, { machine }: DhcpContext): string {
  return machine === undefined ? `no machine has MAC ${mac}` : `it was discovered as ${machine.id}, and nobody has completed it`;
}

interface Answer extends Pick<DhcpExchange, 'reason'>, Pick<DhcpOutcome, 'unproven' | 'problem'> {
  readonly answer?: 'offer' | 'ack' | 'nak';
  readonly address?: string;
  readonly replies?: DhcpOutcome['replies'];
  readonly changed?: readonly Lease[];
}

function dispatch(query: Query): Answer {
  switch (query.type) {
    case 'discover':
      return discover(query);
    case 'request':
      return request(query);
    case 'decline':
      return decline(query);
    case 'release':
      return release(query);
    case 'inform':
      return inform(query);
    case 'offer':
    case 'ack':
    case 'nak':
      return { reason: 'only servers send this type' };
  }
}

function discover(query: Query): Answer {
  const { message, mac, context } = query;
  const choice = chooseAddress(query, addressOption(message, OPTION.requestedAddress));
  if (choice.address === undefined) {
    const exhausted = query.subnet.pools.length > 0;
    const problem: DhcpProblem = { kind: 'pool-exhausted', subject: query.subnet.cidr, mac, detail: choice.reason };
    return { reason: choice.reason, ...(exhausted && { problem }) };
  }
  const held = context.leases.holder(choice.address, context.nowMs);
  // a lease that still runs is not cut down to an offer's minute
  if (!held) context.leases.put({ address: choice.address, mac, state: 'offered', untilMs: context.nowMs + context.settings.offerMs });
  const offer = grant(query, 'offer', choice.address, choice.reason, []);
  // through a relay it is not our network, where nobody can be asked
  return held || message.giaddr !== NO_ADDRESS ? offer : { ...offer, unproven: choice.address };
}

/** SELECTING names a server; INIT-REBOOT names an address in option 50; RENEWING and REBINDING in ciaddr (RFC 2131 section 4.3.2). */
function request(query: Query): Answer {
  const { message, mac, subnet, context } = query;
  const selecting = addressOption(message, OPTION.serverId) !== undefined;
  const wanted = addressOption(message, OPTION.requestedAddress) ?? (message.ciaddr === NO_ADDRESS ? undefined : message.ciaddr);
  if (wanted === undefined) return { reason: 'it asks for no address' };

  const refusal = whyNot(query, wanted);
  if (selecting) return refusal === undefined ? acknowledge(query, wanted, 'it took our offer') : refuseAddress(query, wanted, refusal);

  const records = context.leases.ofMac(mac).filter((lease) => inSubnet(subnet, lease.address));
  const reserved = reservedAddress(query);
  const known = reserved === wanted || records.some((lease) => lease.address === wanted);
  if (refusal === undefined && (known || context.settings.authoritative))
    return acknowledge(query, wanted, known ? 'its lease goes on' : 'the address is free, and we decide');
  if (refusal !== undefined && (known || records.length > 0 || reserved !== undefined || context.settings.authoritative))
    return refuseAddress(query, wanted, refusal);
  // RFC 2131 section 4.3.2: a server without a record of the client stays silent, since another may have one
  return { reason: `${wanted} may be another server's lease: we have no record of it` };
}

function decline({ message, mac, context }: Query): Answer {
  const address = addressOption(message, OPTION.requestedAddress);
  const lease = address === undefined ? undefined : context.leases.get(address);
  // anyone could empty the pool by declining what it never held
  if (!lease || lease.mac !== mac || (lease.state !== 'bound' && lease.state !== 'offered'))
    return { reason: `it declines ${address ?? 'no address'}, which it does not hold` };
  const declined: Lease = { ...lease, state: 'declined', untilMs: context.nowMs + context.settings.declineMs };
  context.leases.put(declined);
  return {
    address: lease.address,
    changed: [declined],
    problem: {
      kind: 'address-conflict',
      subject: lease.address,
      mac,
      detail: `${mac} was given ${lease.address} and found it in use by someone else`,
    },
    reason: `it found ${lease.address} in use by someone else; the address is in quarantine for ${context.settings.declineMs / 1000} s`,
  };
}

function release({ message, mac, context }: Query): Answer {
  const lease = context.leases.get(message.ciaddr);
  if (lease?.mac !== mac || lease.state !== 'bound') return { reason: `it releases ${message.ciaddr}, which it does not hold` };
  const released: Lease = { ...lease, state: 'released', untilMs: context.nowMs };
  context.leases.put(released);
  return { address: lease.address, changed: [released], reason: 'it gave its address back; a release is not answered' };
}

/** Options without an address (RFC 2131 section 4.3.5). */
function inform(query: Query): Answer {
  const { message, mac, subnet, context } = query;
  if (message.ciaddr === NO_ADDRESS) return { reason: 'it asks for options but names no address to answer to' };
  const boot = bootInformation(message, mac, subnet, context);
  const answer = reply(
    message,
    {
      type: 'ack',
      siaddr: boot.siaddr,
      file: boot.file,
      options: [...networkOptions(message, subnet, undefined), ...boot.options],
      to: { address: message.ciaddr, port: context.settings.ports.client }, // also when relayed: section 4.3.5
    },
    context,
  );
  return { answer: 'ack', address: message.ciaddr, replies: [answer], reason: `it has an address and asks for options; ${boot.reason}` };
}

function acknowledge(query: Query, address: string, why: string): Answer {
  const { mac, subnet, context } = query;
  const { leases, nowMs } = context;
  // one address for a MAC in a subnet: what it held before is free again
  const given: Lease[] = leases
    .ofMac(mac)
    .filter((lease) => lease.address !== address && inSubnet(subnet, lease.address))
    .filter((lease) => lease.state === 'bound' || lease.state === 'offered')
    .map((lease) => ({ ...lease, state: 'released', untilMs: nowMs }));
  const bound: Lease = { address, mac, state: 'bound', untilMs: nowMs + leaseSecondsFor(query) * 1000 };
  for (const lease of [...given, bound]) leases.put(lease);
  return grant(query, 'ack', address, why, [...given, bound]);
}

function grant(query: Query, type: 'offer' | 'ack', address: string, why: string, changed: readonly Lease[]): Answer {
  const { message, mac, subnet, context } = query;
  const boot = bootInformation(message, mac, subnet, context);
  const ipxe = clientKind(message) === 'ipxe' ? [[OPTION.ipxe, IPXE_NO_PROXY] as const] : [];
  const answer = reply(
    message,
    {
      type,
      yiaddr: address,
      siaddr: boot.siaddr,
      file: boot.file,
      options: [
        ...leaseTimeOptions(leaseSecondsFor(query)),
        ...networkOptions(message, subnet, hostnameOf(query)),
        ...boot.options,
        ...ipxe,
      ],
    },
    context,
  );
  return { answer: type, address, replies: [answer], changed, reason: `${why}; ${boot.reason}` };
}

function refuseAddress(query: Query, address: string, why: string): Answer {
  const { message, context } = query;
  const answer = reply(message, { type: 'nak', options: [[OPTION.message, textValue(why)]] }, context);
  return { answer: 'nak', address, replies: [answer], reason: why };
}

function leaseSecondsFor({ message, context: { settings } }: Query): number {
  const asked = numberOption(message, OPTION.leaseTime) || settings.leaseSeconds;
  return Math.min(Math.max(asked, SHORTEST_LEASE_SECONDS), settings.maxLeaseSeconds);
}

function selectSubnet(message: DhcpMessage, { settings, received }: DhcpContext): CompiledSubnet | string {
  if (message.giaddr !== NO_ADDRESS) {
    // RFC 3527: a relay whose own address is not on the client's network names the network here
    const link = relayAgentOptions(message).get(RELAY.linkSelection);
    const address = link?.length === 4 ? formatIpv4(new DataView(link.buffer, link.byteOffset, 4).getUint32(0)) : message.giaddr;
    return (
      subnetOf(settings, address) ??
      settings.subnets.find(({ relays }) => relays.has(message.giaddr)) ??
      `relay ${message.giaddr} serves no subnet of ours`
    );
  }
  // a renewing client writes to us through its router, from a network that we may have no interface in
  const ciaddr = message.ciaddr === NO_ADDRESS ? undefined : subnetOf(settings, message.ciaddr);
  const { name, address } = received.interface;
  return ciaddr ?? subnetOf(settings, address) ?? `interface ${name} (${address}) is in no subnet of ours`;
}

function rivalReply(message: DhcpMessage, { settings, peers }: DhcpContext, mac: string | undefined): RivalServer | undefined {
  const serverId = addressOption(message, OPTION.serverId);
  if (serverId === undefined || settings.ownAddresses.has(serverId) || peers?.has(serverId)) return undefined;
  return { serverId, seen: 'reply', ...(mac && { mac }) };
}

function chosenRival(message: DhcpMessage, type: DhcpType, mac: string, { settings }: DhcpContext): RivalServer | undefined {
  const serverId = addressOption(message, OPTION.serverId);
  if (serverId === undefined || settings.ownAddresses.has(serverId)) return undefined;
  return type === 'request' || type === 'decline' || type === 'release' ? { serverId, seen: 'chosen-by-client', mac } : undefined;
}

/** The client went elsewhere: what was held back for it is free again (RFC 2131 section 3.1 step 3). */
function withdrawOffer(mac: string, { leases }: DhcpContext): void {
  for (const lease of leases.ofMac(mac)) if (lease.state === 'offered') leases.remove(lease.address);
}
