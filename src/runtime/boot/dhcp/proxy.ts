/**
 * `proxy` mode: another server gives the addresses, this one only says what to boot (Intel PXE 2.1 section 2.2, proxyDHCP). It answers
 * PXE, HTTP boot and iPXE clients of known machines and nobody else.
 */
import type { Endpoint } from '../../core/network.ts';
import { type DhcpMessage, decodeSubOptions, encodeSubOptions, NO_ADDRESS } from './codec.ts';
import { addressOption, clientKind, type DhcpType, OPTION, PXE, textValue } from './options.ts';
import { bootInformation, type DhcpContext, type DhcpOutcome, reply } from './reply.ts';
import { subnetOf } from './settings.ts';

/**
 * Which address a machine has been seen to use. A proxy owns no lease: it learns from the client's broadcast REQUEST (the address that the other server
 * offered) and from its request to port 4011. Like every lease on an open LAN, that is the client's word.
 */
export class ObservedBindings {
  private readonly byMac = new Map<string, { address: string; untilMs: number }>();
  private readonly macs = new Map<string, string>();

  learn(mac: string, address: string, nowMs: number): void {
    this.forget(mac);
    const holder = this.macs.get(address);
    if (holder !== undefined) this.forget(holder); // addresses move on; the last word counts
    this.byMac.set(mac, { address, untilMs: nowMs + BINDING_MS });
    this.macs.set(address, mac);
  }

  macAt(address: string, nowMs: number): string | undefined {
    const mac = this.macs.get(address);
    const binding = mac === undefined ? undefined : this.byMac.get(mac);
    return binding && binding.untilMs > nowMs ? mac : undefined;
  }

  addressOf(mac: string, nowMs: number): string | undefined {
    const binding = this.byMac.get(mac);
    return binding && binding.untilMs > nowMs ? binding.address : undefined;
  }

  private forget(mac: string): void {
    const binding = this.byMac.get(mac);
    if (!binding) return;
    this.byMac.delete(mac);
    this.macs.delete(binding.address);
  }
}

const BINDING_MS = 3_600_000; // one boot and deployment; the ramdisk's own DHCP renews it
/** Bit 3 of PXE_DISCOVERY_CONTROL: load the file of this very offer, no prompt, no menu, no further discovery. */
const USE_THIS_FILE = Uint8Array.of(8);

interface ProxyQuery {
  readonly message: DhcpMessage;
  readonly mac: string;
  readonly type: DhcpType;
  readonly context: DhcpContext;
  readonly observed: ObservedBindings;
  readonly ignore: (reason: string) => DhcpOutcome;
  readonly subject: { readonly mac?: string; readonly type?: DhcpType; readonly arch?: number };
}

export function handleProxy({ message, mac, type, context, observed, ignore, subject }: ProxyQuery): DhcpOutcome {
  const { machine, nowMs, received } = context;
  if (!machine) return ignore(`no machine has MAC ${mac}`);
  // operating systems renew with REQUEST too, so this comes before the question whether it boots
  const used = type === 'request' || type === 'inform' ? usedAddress(message) : undefined;
  if (used !== undefined) observed.learn(mac, used, nowMs);

  const silent = (reason: string): DhcpOutcome => {
    const outcome = ignore(reason);
    return used === undefined ? outcome : { ...outcome, exchange: { ...outcome.exchange, address: used, uses: true } };
  };
  const client = clientKind(message);
  if (client === 'other') return silent('it does not boot over the network, and its address is another server’s business');
  if (received.port === 'server' && type === 'request') return silent('it takes the address of the other server');
  if (type === 'decline' || type === 'release') return ignore('its address is another server’s business');
  if (type === 'offer' || type === 'ack' || type === 'nak') return ignore('only servers send this type');

  const boot = bootInformation(message, mac, subnetOf(context.settings, received.interface.address), context);
  if (!boot.boots) return ignore(boot.reason);
  const answer = type === 'discover' ? 'offer' : 'ack';
  const to = replyTo(message, type, context);
  const pxe = client === 'uefi-http' ? [] : pxeOptions(message);
  const reason = `it boots over the network, and its address is another server’s business; ${boot.reason}`;
  return {
    replies: [
      reply(
        message,
        { type: answer, siaddr: boot.siaddr, file: boot.file, options: [...pxe, ...boot.options], ...(to && { to }) },
        context,
      ),
    ],
    changed: [],
    exchange: { ...subject, ...(used && { address: used, uses: true }), answer, reason },
  };
}

function usedAddress(message: DhcpMessage): string | undefined {
  return addressOption(message, OPTION.requestedAddress) ?? (message.ciaddr === NO_ADDRESS ? undefined : message.ciaddr);
}

/** Boot server requests are answered to where they came from; the client's port there is its own choice. */
function replyTo(message: DhcpMessage, type: DhcpType, { received, settings }: DhcpContext): Endpoint | undefined {
  if (received.port === 'boot-server' && received.source.address !== NO_ADDRESS) return received.source;
  if (type === 'inform' && message.ciaddr !== NO_ADDRESS) return { address: message.ciaddr, port: settings.ports.client };
  return undefined;
}

/** The vendor class marks the offer as PXE's; option 43 ends the search for boot servers. */
function pxeOptions(message: DhcpMessage): [number, Uint8Array][] {
  const vendor = new Map<number, Uint8Array>([[PXE.discoveryControl, USE_THIS_FILE]]);
  const item = bootItem(message);
  if (item) vendor.set(PXE.bootItem, item);
  return [
    [OPTION.vendorClass, textValue('PXEClient')],
    [OPTION.vendorSpecific, encodeSubOptions(vendor, { end: true })],
  ];
}

/** A boot server's ACK repeats the boot item that was asked for (PXE 2.1 section 3.3.2), or the ROM drops it. */
function bootItem(message: DhcpMessage): Uint8Array | undefined {
  const value = message.options.get(OPTION.vendorSpecific);
  if (!value) return undefined;
  try {
    return decodeSubOptions(value, { padding: true }).get(PXE.bootItem);
  } catch {
    return undefined; // some other vendor's format
  }
}
