/** Building replies: what every one carries, what a booting client is told, and where it is sent (RFC 2131 section 4.1, table 3). */
import type { Endpoint } from '../../core/network.ts';
import { type BootSettings, decideBoot } from '../decide-boot.ts';
import type { BootMachine } from '../machine.ts';
import { DhcpCodecError, type DhcpMessage, encodeDhcp, NO_ADDRESS } from './codec.ts';
import { broadcastOf, formatIpv4 } from './ipv4.ts';
import type { Lease, LeaseBook } from './lease.ts';
import {
  addressesValue,
  clientArch,
  clientKind,
  type DhcpType,
  numberOption,
  OPTION,
  requestedOptions,
  textValue,
  typeOption,
  uint16Value,
  uint32Value,
} from './options.ts';
import type { DhcpProblem } from './problems.ts';
import type { CompiledDhcpSettings, CompiledSubnet, DhcpInterface } from './settings.ts';

export interface DhcpBootSettings extends BootSettings {
  /** Where boot files are served over HTTP; needed for `http`. @default 80 */
  readonly httpPort?: number;
}

/** Everything an answer depends on besides the message. */
export interface DhcpContext {
  readonly settings: CompiledDhcpSettings;
  readonly boot: DhcpBootSettings;
  readonly leases: LeaseBook;
  readonly nowMs: number;
  readonly machine: BootMachine | undefined;
  /** The MAC that any machine's record reserves an address for. @default none */
  readonly reservedFor?: (address: string) => string | undefined;
  /** Addresses of the other replicas of this service. @default none */
  readonly peers?: ReadonlySet<string>;
  readonly received: {
    readonly interface: DhcpInterface;
    readonly source: Endpoint;
    /** `boot-server` is PXE's port 4011. */
    readonly port: 'server' | 'boot-server';
  };
}

export interface DhcpReply {
  readonly message: DhcpMessage;
  readonly to: Endpoint;
  /** Largest UDP payload that the client takes. */
  readonly maxBytes: number;
}

/** One line for the log and for `bmctl explain`: what was asked, what was answered, and why. */
export interface DhcpExchange {
  readonly mac?: string;
  readonly type?: DhcpType;
  readonly address?: string;
  /** In proxy mode: the client takes `address` from another server, or has it already. */
  readonly uses?: boolean;
  /** Option 93. */
  readonly arch?: number;
  /** 'none': the request was left unanswered, for `reason`. */
  readonly answer: DhcpType | 'none';
  readonly reason: string;
}

export interface RivalServer {
  readonly serverId: string;
  /** How it was noticed. */
  readonly seen: 'reply' | 'chosen-by-client';
  readonly mac?: string;
}

export interface DhcpOutcome {
  readonly replies: readonly DhcpReply[];
  /** To be stored before the replies are sent. */
  readonly changed: readonly Lease[];
  /** The address that is offered, when nobody is known to use it: worth a look before it is promised. */
  readonly unproven?: string;
  readonly exchange: DhcpExchange;
  readonly rival?: RivalServer;
  readonly problem?: DhcpProblem;
}

const LEAST_MESSAGE_BYTES = 576; // option 57 may not ask for less (RFC 2132 section 9.10)
const ETHERNET_MTU = 1500;
const IP_UDP_HEADERS = 28; // 20 IPv4 + 8 UDP
const LONGEST_FILE = 127; // the file field less its NUL

export interface BootInformation {
  readonly siaddr: string;
  readonly file: string;
  readonly options: readonly (readonly [number, Uint8Array])[];
  readonly reason: string;
  /** A boot file is named. */
  readonly boots: boolean;
}

/** What the boot decision means in DHCP's words. */
export function bootInformation(
  request: DhcpMessage,
  mac: string,
  subnet: CompiledSubnet | undefined,
  context: DhcpContext,
): BootInformation {
  const client = clientKind(request);
  const none = { siaddr: NO_ADDRESS, file: '', options: [], boots: false };
  if (client === 'other') return { ...none, reason: 'it does not boot over the network' };

  const arch = clientArch(request);
  const decision = decideBoot(context.machine, { protocol: 'dhcp', mac, client, ...(arch !== undefined && { arch }) }, context.boot);
  const reason = decision.reasons.join('; ');
  if (decision.kind !== 'loader') return { ...none, reason };

  const server = subnet?.config.bootServer ?? context.received.interface.address;
  const port = context.boot.httpPort ?? 80;
  const name = decision.over === 'tftp' ? decision.path : `http://${server}${port === 80 ? '' : `:${port}`}/${decision.path}`;
  const wants = requestedOptions(request);
  const named: [number, Uint8Array][] = [];
  // UEFI HTTP boot drops an offer without its own vendor class
  if (client === 'uefi-http') named.push([OPTION.vendorClass, textValue('HTTPClient')]);
  if (wants?.has(OPTION.tftpServer) && decision.over === 'tftp') named.push([OPTION.tftpServer, textValue(server)]);
  if (wants?.has(OPTION.tftpServerAddress) && decision.over === 'tftp') named.push([OPTION.tftpServerAddress, addressesValue(server)]);
  if (wants?.has(OPTION.bootFile) || client === 'uefi-http' || name.length > LONGEST_FILE) named.push([OPTION.bootFile, textValue(name)]);
  return {
    siaddr: server,
    // the HTTP client reads option 67 only; the others read whichever comes first
    file: client === 'uefi-http' || name.length > LONGEST_FILE ? '' : name,
    options: named,
    reason: `${reason}: ${name}`,
    boots: true,
  };
}

/** Subnet options; those beyond mask and router only where the client asks, to keep small ROMs' messages small. */
export function networkOptions(request: DhcpMessage, subnet: CompiledSubnet, hostname: string | undefined): [number, Uint8Array][] {
  const { config } = subnet;
  const wants = requestedOptions(request);
  const asked: [number, Uint8Array | undefined][] = [
    [OPTION.dns, config.dns?.length ? addressesValue(...config.dns) : undefined],
    [OPTION.hostname, hostname ? textValue(hostname) : undefined],
    [OPTION.domainName, config.domain ? textValue(config.domain) : undefined],
    [OPTION.mtu, config.mtu ? uint16Value(config.mtu) : undefined],
    [OPTION.broadcastAddress, uint32Value(broadcastOf(subnet))],
    [OPTION.ntp, config.ntp?.length ? addressesValue(...config.ntp) : undefined],
  ];
  return [
    [OPTION.subnetMask, uint32Value(subnet.mask)],
    ...(config.gateway ? [[OPTION.router, addressesValue(config.gateway)] satisfies [number, Uint8Array]] : []),
    ...asked.flatMap(([code, value]): [number, Uint8Array][] => (value && (!wants || wants.has(code)) ? [[code, value]] : [])),
  ];
}

/** T1 and T2 at one half and seven eighths (RFC 2131 section 4.4.5). */
export function leaseTimeOptions(leaseSeconds: number): [number, Uint8Array][] {
  return [
    [OPTION.leaseTime, uint32Value(leaseSeconds)],
    [OPTION.renewalTime, uint32Value(Math.floor(leaseSeconds / 2))],
    [OPTION.rebindingTime, uint32Value(Math.floor((leaseSeconds * 7) / 8))],
  ];
}

export interface ReplyFields {
  readonly type: 'offer' | 'ack' | 'nak';
  readonly yiaddr?: string;
  readonly siaddr?: string;
  readonly file?: string;
  readonly options?: Iterable<readonly [number, Uint8Array]>;
  /** @default by RFC 2131 section 4.1 */
  readonly to?: Endpoint;
}

export function reply(request: DhcpMessage, fields: ReplyFields, context: DhcpContext): DhcpReply {
  const echoed = [OPTION.clientId, OPTION.clientGuid].flatMap((code): [number, Uint8Array][] => {
    const value = request.options.get(code); // RFC 6842; RFC 4578 section 2.3
    return value && (code === OPTION.clientId || fields.type !== 'nak') ? [[code, value]] : [];
  });
  const relayAgent = request.options.get(OPTION.relayAgent);
  const relayed = request.giaddr !== NO_ADDRESS;
  const message: DhcpMessage = {
    op: 'reply',
    hardwareType: request.hardwareType,
    hardwareAddress: request.hardwareAddress,
    hops: 0,
    xid: request.xid,
    secs: 0,
    // a relay has to broadcast a NAK: the client's address is the very thing that is wrong (RFC 2131 section 4.3.2)
    broadcast: request.broadcast || (fields.type === 'nak' && relayed),
    ciaddr: fields.type === 'ack' ? request.ciaddr : NO_ADDRESS,
    yiaddr: fields.yiaddr ?? NO_ADDRESS,
    siaddr: fields.siaddr ?? NO_ADDRESS,
    giaddr: request.giaddr,
    sname: '',
    file: fields.file ?? '',
    options: new Map([
      [OPTION.messageType, typeOption(fields.type)],
      [OPTION.serverId, addressesValue(context.received.interface.address)],
      ...(fields.options ?? []),
      ...echoed,
      // RFC 3046 section 2.2: whole, unchanged, and last
      ...(relayAgent ? [[OPTION.relayAgent, relayAgent] as const] : []),
    ]),
  };
  return { message, to: fields.to ?? destination(request, fields.type, context), maxBytes: largestPayload(request) };
}

/** A relay's option that finds no room is left out rather than that the machine gets no answer (RFC 3046 section 2.2). @throws DhcpCodecError */
export function encodeReply({ message, maxBytes }: DhcpReply): Uint8Array {
  try {
    return encodeDhcp(message, { maxBytes });
  } catch (error) {
    const options = new Map(message.options);
    if (!(error instanceof DhcpCodecError) || !options.delete(OPTION.relayAgent)) throw error;
    return encodeDhcp({ ...message, options }, { maxBytes });
  }
}

/**
 * A client without an address and without the broadcast flag should be answered by unicast to an address that it does not hold yet. That needs an ARP entry
 * or a raw socket, hence a privilege; the same section allows broadcast instead, and every client must hear it.
 */
function destination(request: DhcpMessage, type: DhcpType, { settings }: DhcpContext): Endpoint {
  if (request.giaddr !== NO_ADDRESS) return { address: request.giaddr, port: settings.ports.server };
  if (type !== 'nak' && request.ciaddr !== NO_ADDRESS) return { address: request.ciaddr, port: settings.ports.client };
  return { address: settings.broadcastAddress, port: settings.ports.client };
}

function largestPayload(request: DhcpMessage): number {
  const asked = numberOption(request, OPTION.maxMessageSize) ?? LEAST_MESSAGE_BYTES;
  return Math.min(Math.max(asked, LEAST_MESSAGE_BYTES), ETHERNET_MTU) - IP_UDP_HEADERS;
}

export function subnetMaskText(subnet: CompiledSubnet): string {
  return formatIpv4(subnet.mask);
}
