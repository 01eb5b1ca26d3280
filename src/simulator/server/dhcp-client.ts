/** The boot ROM's DHCP client (PXE 2.1 section 2.2): discover, take the first offer that names a boot file, request it. */

import {
  addressesValue,
  addressOption,
  type DhcpMessage,
  macBytes,
  messageType,
  numberOption,
  OPTION,
  textOption,
  textValue,
  typeOption,
  uint16Value,
} from 'cdk8s-baremetal-runtime/boot/dhcp/index';
import { type Clock, type Random, sleep } from 'cdk8s-baremetal-runtime/core/index';
import type { ProvisioningWire } from './wire.ts';

export interface DhcpClientOptions {
  readonly wire: ProvisioningWire;
  readonly mac: string;
  /** The machine's SMBIOS UUID (option 97). */
  readonly uuid: string;
  /** Option 93; 0 is BIOS. */
  readonly arch: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

export interface BootLease {
  readonly address: string;
  readonly netmask: string;
  readonly gateway: string | undefined;
  readonly serverId: string;
  /** Where boot files are: siaddr. */
  readonly bootServer: string;
  /** Undefined: an address, but nothing to boot. */
  readonly bootFile: string | undefined;
}

/** PXE 2.1 section 2.2.1: four tries, waiting 4, 8, 16 and 32 s. */
const WAITS_MS = [4_000, 8_000, 16_000, 32_000] as const;
const NO_ADDRESS = '0.0.0.0';
const WANTED = [
  OPTION.subnetMask,
  OPTION.router,
  OPTION.dns,
  OPTION.serverId,
  OPTION.leaseTime,
  OPTION.vendorClass,
  OPTION.tftpServer,
  OPTION.bootFile,
];

/** Undefined when nobody offers anything within a minute. Rejects with the signal's reason. */
export async function dhcpBoot(options: DhcpClientOptions): Promise<BootLease | undefined> {
  const { wire, mac, clock, random, signal } = options;
  const heard: DhcpMessage[] = [];
  let wake: () => void = () => undefined;
  const port = await wire.open(mac, (message) => {
    heard.push(message);
    wake();
  });
  /** The next reply that `pick` makes something of, or undefined after `waitMs`. */
  const next = async <T>(waitMs: number, pick: (message: DhcpMessage) => T | undefined): Promise<T | undefined> => {
    const until = clock.monotonic() + waitMs;
    for (;;) {
      for (let message = heard.shift(); message; message = heard.shift()) {
        const picked = pick(message);
        if (picked !== undefined) return picked;
      }
      const leftMs = until - clock.monotonic();
      if (leftMs <= 0) return undefined;
      const ended = new AbortController();
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      await Promise.race([woken, sleep(clock, leftMs, AbortSignal.any([signal, ended.signal]))]).finally(() => ended.abort());
    }
  };
  try {
    const [a = 0, b = 0, c = 0, d = 0] = random.bytes(4);
    const xid = (a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d) >>> 0;
    const started = clock.monotonic();
    for (const waitMs of WAITS_MS) {
      const secs = Math.floor((clock.monotonic() - started) / 1000);
      port.send(request(options, xid, secs, 'discover'));
      const offer = await next(waitMs, (message) => (message.xid === xid && messageType(message) === 'offer' ? message : undefined));
      const serverId = offer && addressOption(offer, OPTION.serverId);
      if (!offer || serverId === undefined) continue;
      port.send(request(options, xid, secs, 'request', offer.yiaddr, serverId));
      const answer = await next(waitMs, (message) => {
        const type = message.xid === xid ? messageType(message) : undefined;
        return type === 'ack' || type === 'nak' ? { type, message } : undefined;
      });
      if (answer?.type === 'ack') return leaseOf(answer.message, serverId);
    }
    return undefined;
  } finally {
    await port.close();
  }
}

function request(
  { mac, uuid, arch }: DhcpClientOptions,
  xid: number,
  secs: number,
  type: 'discover' | 'request',
  address?: string,
  serverId?: string,
): DhcpMessage {
  const guid = Uint8Array.of(0, ...Buffer.from(uuid.replaceAll('-', ''), 'hex'));
  return {
    op: 'request',
    hardwareType: 1,
    hardwareAddress: macBytes(mac),
    hops: 0,
    xid,
    secs,
    broadcast: true,
    ciaddr: NO_ADDRESS,
    yiaddr: NO_ADDRESS,
    siaddr: NO_ADDRESS,
    giaddr: NO_ADDRESS,
    sname: '',
    file: '',
    options: new Map<number, Uint8Array>([
      [OPTION.messageType, typeOption(type)],
      ...(address === undefined ? [] : ([[OPTION.requestedAddress, addressesValue(address)]] as const)),
      ...(serverId === undefined ? [] : ([[OPTION.serverId, addressesValue(serverId)]] as const)),
      [OPTION.maxMessageSize, uint16Value(1260)],
      [OPTION.parameterList, Uint8Array.from(WANTED)],
      [OPTION.clientGuid, guid],
      [OPTION.clientArch, uint16Value(arch)],
      [OPTION.clientNdi, Uint8Array.of(1, 2, 1)],
      [OPTION.vendorClass, textValue(`PXEClient:Arch:${String(arch).padStart(5, '0')}:UNDI:002001`)],
    ]),
  };
}

function leaseOf(ack: DhcpMessage, serverId: string): BootLease {
  const mask = numberOption(ack, OPTION.subnetMask) ?? 0xffffff00;
  const bootFile = textOption(ack, OPTION.bootFile) || ack.file || undefined;
  return {
    address: ack.yiaddr,
    netmask: [24, 16, 8, 0].map((shift) => Math.floor(mask / 2 ** shift) % 256).join('.'),
    gateway: addressOption(ack, OPTION.router),
    serverId,
    bootServer: ack.siaddr === NO_ADDRESS ? serverId : ack.siaddr,
    bootFile,
  };
}
