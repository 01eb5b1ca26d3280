/** A DHCP server's core with a clock that the test holds, and requests in few words. */

import { type DhcpMessage, NO_ADDRESS } from '../../../../src/runtime/boot/dhcp/codec.ts';
import { handleDhcp } from '../../../../src/runtime/boot/dhcp/handle.ts';
import { LeaseBook } from '../../../../src/runtime/boot/dhcp/lease.ts';
import {
  addressesValue,
  type DhcpType,
  macBytes,
  OPTION,
  textValue,
  typeOption,
  uint16Value,
} from '../../../../src/runtime/boot/dhcp/options.ts';
import { ObservedBindings } from '../../../../src/runtime/boot/dhcp/proxy.ts';
import type { DhcpBootSettings, DhcpContext, DhcpOutcome } from '../../../../src/runtime/boot/dhcp/reply.ts';
import { compileDhcpSettings, type DhcpSettings } from '../../../../src/runtime/boot/dhcp/settings.ts';
import type { BootIntent, BootMachine } from '../../../../src/runtime/boot/machine.ts';

export const SERVER = '192.168.50.20';
export const MAC = '52:54:00:12:34:56';
export const OTHER_MAC = '52:54:00:12:34:57';

export const SITE: DhcpSettings = {
  mode: 'server',
  interfaces: [{ name: 'vlan1800', address: SERVER }],
  subnets: [
    {
      cidr: '192.168.50.0/24',
      pools: [{ first: '192.168.50.100', last: '192.168.50.102' }],
      gateway: '192.168.50.254',
      dns: ['192.168.50.2'],
    },
    {
      cidr: '10.128.192.0/24',
      pools: [{ first: '10.128.192.100', last: '10.128.192.199' }],
      gateway: '10.128.192.1',
      relays: ['172.16.0.1'],
    },
  ],
};

export function machine(over: { id?: string; mac?: string; address?: string; boot?: BootIntent } = {}): BootMachine {
  return {
    id: over.id ?? '7',
    uuid: '8d0f5a5e-6c1b-4a55-9d53-0d1c3b1f9a10',
    interfaces: [{ mac: over.mac ?? MAC, ...(over.address && { address: over.address }) }],
    boot: over.boot ?? { kind: 'local-disk' },
  };
}

export interface Ask {
  mac?: string;
  requested?: string;
  serverId?: string;
  ciaddr?: string;
  giaddr?: string;
  vendor?: string;
  arch?: number;
  broadcast?: boolean;
  options?: [number, Uint8Array][];
}

export function message(type: DhcpType, ask: Ask = {}): DhcpMessage {
  const options: [number, Uint8Array][] = [[OPTION.messageType, typeOption(type)]];
  if (ask.requested) options.push([OPTION.requestedAddress, addressesValue(ask.requested)]);
  if (ask.serverId) options.push([OPTION.serverId, addressesValue(ask.serverId)]);
  if (ask.vendor) options.push([OPTION.vendorClass, textValue(ask.vendor)]);
  if (ask.arch !== undefined) options.push([OPTION.clientArch, uint16Value(ask.arch)]);
  return {
    op: 'request',
    hardwareType: 1,
    hardwareAddress: macBytes(ask.mac ?? MAC),
    hops: 0,
    xid: 0x1234,
    secs: 0,
    broadcast: ask.broadcast ?? false,
    ciaddr: ask.ciaddr ?? NO_ADDRESS,
    yiaddr: NO_ADDRESS,
    siaddr: NO_ADDRESS,
    giaddr: ask.giaddr ?? NO_ADDRESS,
    sname: '',
    file: '',
    options: new Map([...options, ...(ask.options ?? [])]),
  };
}

export class World {
  nowMs = 1_000_000;
  leases = new LeaseBook();
  readonly observed = new ObservedBindings();
  readonly machines = new Map<string, BootMachine>();
  readonly settings: DhcpContext['settings'];

  constructor(
    settings: Partial<DhcpSettings> = {},
    private readonly boot: DhcpBootSettings = {},
  ) {
    this.settings = compileDhcpSettings({ ...SITE, ...settings });
  }

  add(...machines: BootMachine[]): this {
    for (const one of machines) for (const { mac } of one.interfaces) this.machines.set(mac, one);
    return this;
  }

  send(request: DhcpMessage, received: Partial<DhcpContext['received']> = {}): DhcpOutcome {
    const mac = [...request.hardwareAddress].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
    const context: DhcpContext = {
      settings: this.settings,
      boot: this.boot,
      leases: this.leases,
      nowMs: this.nowMs,
      machine: this.machines.get(mac),
      reservedFor: (address) =>
        [...this.machines.values()].flatMap(({ interfaces }) => interfaces).find((one) => one.address === address)?.mac,
      received: {
        interface: this.settings.interfaces[0] ?? { name: 'none', address: NO_ADDRESS },
        source: { address: request.ciaddr, port: 68 },
        port: 'server',
        ...received,
      },
    };
    return handleDhcp(request, context, this.observed);
  }

  ask(type: DhcpType, ask: Ask = {}): DhcpOutcome {
    return this.send(message(type, ask));
  }

  /** DISCOVER, OFFER, REQUEST, ACK; the address, or undefined when it came to none. */
  boots(ask: Ask = {}): string | undefined {
    const offered = this.ask('discover', ask).replies[0]?.message.yiaddr;
    if (offered === undefined) return undefined;
    const outcome = this.ask('request', { ...ask, requested: offered, serverId: SERVER });
    return outcome.exchange.answer === 'ack' ? outcome.replies[0]?.message.yiaddr : undefined;
  }
}
