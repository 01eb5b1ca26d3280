/** What a person may see when a DHCP configuration is wrong. */
import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const dhcpErrors = defineErrors('DHCP', {
  DHCP_BAD_ADDRESS: entry<{ field: string; value: string }>({
    message: ({ field, value }) => `${field} is "${value}", which is not an IPv4 address`,
    cure: 'Write four decimal octets, e.g. 192.168.50.20.',
  }),
  DHCP_BAD_MAC: entry<{ field: string; value: string }>({
    message: ({ field, value }) => `${field} is "${value}", which is not an Ethernet address`,
    cure: 'Write six hexadecimal octets, e.g. 52:54:00:12:34:56.',
  }),
  DHCP_BAD_SUBNET: entry<{ value: string }>({
    message: ({ value }) => `subnet "${value}" is not a network with a prefix length, or has host bits set`,
    cure: 'Write the network address, e.g. 192.168.50.0/24.',
  }),
  DHCP_SUBNET_OVERLAP: entry<{ first: string; second: string }>({
    message: ({ first, second }) => `subnets ${first} and ${second} overlap`,
    cure: 'Serve each address from one subnet.',
  }),
  DHCP_POOL_OUTSIDE_SUBNET: entry<{ subnet: string; first: string; last: string }>({
    message: ({ subnet, first, last }) => `pool ${first}-${last} does not lie inside ${subnet} in ascending order`,
    cure: 'Choose two host addresses of the subnet, the lower one first.',
  }),
  DHCP_RESERVATION_OUTSIDE: entry<{ mac: string; address: string }>({
    message: ({ mac, address }) => `the reservation of ${mac} for ${address} lies in no subnet`,
    cure: 'Move the address into a served subnet, or add its subnet.',
  }),
  DHCP_RESERVATION_DUPLICATE: entry<{ address: string; mac: string; other: string }>({
    message: ({ address, mac, other }) => `address ${address} is reserved for both ${other} and ${mac}`,
    cure: 'Reserve an address for one MAC only.',
  }),
  DHCP_NO_INTERFACE: entry<Record<never, never>>({
    message: () => 'no provisioning interface is configured',
    cure: 'Name at least one interface with its address.',
  }),
  DHCP_INTERFACE_UNKNOWN: entry<{ name: string }>({
    message: ({ name }) => `interface ${name} of [dhcp] interfaces is not there, or has no IPv4 address`,
    cure: 'Correct the name, or give the interface its address in the provisioning network before bms-core starts.',
  }),
  DHCP_BAD_NETWORK: entry<{ value: string; why: string }>({
    message: ({ value, why }) => `[dhcp] networks has "${value}": ${why}`,
    cure: 'Write e.g. `192.168.50.0/24 range=192.168.50.100-192.168.50.199 gateway=192.168.50.254 relay=10.0.0.1`; only the network is required.',
  }),
  DHCP_INTERFACES_UNLABELLED: entry<{ names: readonly string[] }>({
    message: ({ names }) => `interfaces ${names.join(', ')} share one socket, on which a broadcast does not tell where it came from`,
    cure: 'Install perl-base, by which bms-core opens a socket for each interface, or serve one interface only.',
  }),
  DHCP_BAD_TIME: entry<{ field: string; value: number }>({
    message: ({ field, value }) => `${field} is ${value}, which is not a whole number of seconds between 1 and 4294967294`,
    cure: 'Write a positive number of seconds.',
  }),
});
