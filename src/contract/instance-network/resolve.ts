/** The settings of an instance put on the interfaces of one machine, in one form for every renderer. */
import { formatIpv4 } from '../addresses.ts';
import type { InstanceNetwork } from './model.ts';

export interface ResolvedAddress {
  readonly address: string;
  readonly prefix: number;
  /** Of IPv4: dotted. */
  readonly netmask?: string;
  readonly gateway?: string;
}

export interface ResolvedInterface {
  /** `eth` and its place among the machine's interfaces, as nova named them. */
  readonly name: string;
  readonly mac: string;
  /** The machine boots by it. */
  readonly boots: boolean;
  readonly ipv4?: 'dhcp' | ResolvedAddress;
  readonly ipv6?: 'auto' | ResolvedAddress;
  readonly dns: readonly string[];
  readonly mtu?: number;
}

export interface ResolvedNetwork {
  readonly interfaces: readonly ResolvedInterface[];
  readonly search: readonly string[];
}

/** `macs` of the machine, the one that boots first. A sentence when the machine has not got an interface that is named. */
export function resolveNetwork(network: InstanceNetwork, macs: readonly string[]): ResolvedNetwork | string {
  const interfaces: ResolvedInterface[] = [];
  for (const { on, ipv4, ipv6, dns = [], mtu } of network.interfaces) {
    const index = typeof on === 'number' ? on : macs.indexOf(on);
    const mac = macs[index];
    if (mac === undefined)
      return typeof on === 'number'
        ? `it has ${macs.length} ${macs.length === 1 ? 'interface' : 'interfaces'}, and interface ${on} is asked for (they are counted from 0)`
        : `it has no interface ${on}`;
    if (interfaces.some((known) => known.mac === mac)) return `its interface ${mac} is named twice`;
    interfaces.push({
      name: `eth${index}`,
      mac,
      boots: index === 0,
      ...(ipv4 !== undefined && { ipv4: ipv4 === 'dhcp' ? ipv4 : resolved(ipv4, true) }),
      ...(ipv6 !== undefined && { ipv6: ipv6 === 'auto' ? ipv6 : resolved(ipv6, false) }),
      dns,
      ...(mtu !== undefined && { mtu }),
    });
  }
  return { interfaces, search: network.search ?? [] };
}

function resolved(
  { address, gateway }: { readonly address: string; readonly gateway?: string | undefined },
  dotted: boolean,
): ResolvedAddress {
  const [host = '', length = ''] = address.split('/');
  const prefix = Number(length);
  return {
    address: host,
    prefix,
    // 2^32 - 2^(32 - prefix): the prefix's bits are set, the others not
    ...(dotted && { netmask: formatIpv4(2 ** 32 - 2 ** (32 - prefix)) }),
    ...(gateway !== undefined && { gateway }),
  };
}
