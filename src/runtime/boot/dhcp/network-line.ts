/** A line of [dhcp] networks: `192.168.50.0/24 range=192.168.50.100-192.168.50.199 gateway=192.168.50.254 relay=10.0.0.1`. */
import { dhcpErrors } from './errors.ts';
import type { DhcpSubnet } from './settings.ts';

/** Throws DHCP_BAD_NETWORK for the form; addresses are checked by compileDhcpSettings. */
export function parseNetworkLine(line: string, common: Pick<DhcpSubnet, 'dns' | 'bootServer'> = {}): DhcpSubnet {
  const refuse = (why: string): never => {
    throw dhcpErrors.DHCP_BAD_NETWORK({ value: line, why });
  };
  const [cidr = '', ...words] = line.trim().split(/\s+/);
  const pools: { first: string; last: string }[] = [];
  const relays: string[] = [];
  let gateway: string | undefined;
  for (const word of words) {
    const [key, value] = /^([a-z]+)=(\S+)$/.exec(word)?.slice(1) ?? refuse(`"${word}" is not key=value`);
    const [first, last] = value?.split('-') ?? [];
    if (key === 'range' && first && last) pools.push({ first, last });
    else if (key === 'gateway' && value && gateway === undefined) gateway = value;
    else if (key === 'relay' && value) relays.push(value);
    else refuse(`"${word}" is none of range=FIRST-LAST, gateway=ADDRESS (once) and relay=ADDRESS`);
  }
  return {
    cidr,
    ...common,
    ...(pools.length > 0 && { pools }),
    ...(relays.length > 0 && { relays }),
    ...(gateway !== undefined && { gateway }),
  };
}
