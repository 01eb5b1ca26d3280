import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const coreErrors = defineErrors('Starting bms-core', {
  CORE_PORT_TAKEN: entry<{ role: string; where: string; section: string }>({
    message: ({ role, where }) => `${role} cannot listen on ${where}: the port is in use or may not be used`,
    cure: ({ section }) => `Stop what uses it, set another port in [${section}], or run with the right to bind ports below 1024`,
  }),
  CORE_ADDRESS_MISSING: entry<{ role: string; where: string; section: string }>({
    message: ({ role, where }) => `${role} cannot listen on ${where}: no interface of this machine has that address`,
    cure: ({ section }) =>
      `Correct the address in [${section}]; on macOS, other loopback addresses than 127.0.0.1 need "ifconfig lo0 alias ADDRESS" first`,
  }),
  CORE_NO_ADDRESS: entry<{ vip: string }>({
    message: ({ vip }) => `no interface of this machine is on the provisioning network (that of ${vip})`,
    cure: 'Set [dhcp] server_ip to the own address there',
  }),
  CORE_DHCP_RANGE: entry<{ missing: string }>({
    message: ({ missing }) => `[dhcp] mode = server needs ${missing}`,
    cure: 'Set it, or use mode = proxy beside the DHCP server that the network has',
  }),
});
