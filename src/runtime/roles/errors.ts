import { defineErrors, entry, path } from 'cdk8s-baremetal-contract';

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
  CORE_ARGUMENTS: entry<{ why: string }>({
    message: ({ why }) => `the program was called wrongly: ${why}`,
    cure: `Call it as bms-core [--config FILE]; without, the file is ${path.configFile}`,
  }),
  CORE_CONFIG_FILE: entry<{ file: string; why: string }>({
    message: ({ file, why }) => `the configuration ${file} cannot be read: ${why}`,
    cure: 'Name another with --config, or mount the ConfigMap of the pod there',
  }),
  CORE_CONTRACT_NEWER: entry<{ manifests: string; own: string }>({
    message: ({ manifests, own }) => `the manifests speak version ${manifests} of the contract, this image ${own}`,
    cure: 'Update the image that the site names, or synthesize with the older release of cdk8s-baremetal',
  }),
});
