import { defineErrors, entry } from './errors.ts';

/** What can be wrong with the model of a site. */
export const siteErrors = defineErrors('Sites', {
  SITE_FIELD_INVALID: entry<{ field: string; value: string; rule: string }>({
    message: ({ field, value, rule }) => `${field} is ${value}: it ${rule}`,
    cure: 'Correct the value',
  }),
  SITE_FIELD_MISSING: entry<{ field: string }>({
    message: ({ field }) => `${field} is missing`,
    cure: ({ field }) => `Add ${field}`,
  }),
  SITE_FIELD_UNKNOWN: entry<{ field: string; nearest?: string; known: readonly string[] }>({
    message: ({ field }) => `${field} is not a field of the model`,
    cure: ({ nearest, known }) => (nearest ? `Did you mean ${nearest}?` : `Use one of ${known.join(', ')}`),
  }),
  SITE_NAME_INVALID: entry<{ field: string; value: string; rule: string }>({
    message: ({ field, value, rule }) => `${field} is ${value}: it ${rule}`,
    cure: 'Choose a name that Kubernetes accepts',
  }),
  SITE_DUPLICATE_MAC: entry<{ mac: string; other: string }>({
    message: ({ mac, other }) => `the MAC address ${mac} is already that of ${other}`,
    cure: 'Give every interface its own MAC address: the one printed on the card',
  }),
  SITE_DUPLICATE_ADDRESS: entry<{ address: string; other: string }>({
    message: ({ address, other }) => `the address ${address} is already that of ${other}`,
    cure: 'Give each of them its own address',
  }),
  SITE_DUPLICATE_BMC: entry<{ bmc: string; other: string }>({
    message: ({ bmc, other }) => `the BMC ${bmc} is already that of ${other}`,
    cure: 'Correct one of them: two machines on one BMC would switch each other off',
  }),
  SITE_DUPLICATE_VIP: entry<{ vip: string; other: string }>({
    message: ({ vip, other }) => `the VIP ${vip} is already that of ${other}`,
    cure: 'Give every pair of management nodes its own VIP',
  }),
  SITE_DUPLICATE_NAME: entry<{ kind: string; name: string; other: string }>({
    message: ({ kind, name, other }) => `the ${kind} ${name} exists already at ${other}`,
    cure: 'Rename one of them',
  }),
  SITE_DUPLICATE_OBJECT: entry<{ object: string; other: string }>({
    message: ({ object, other }) => `${object} is also made by ${other}: applying dist/ would keep only one of them`,
    cure: 'Give each site a namespace of its own',
  }),
  SITE_DUPLICATE_VLAN: entry<{ vlan: number; other: string }>({
    message: ({ vlan, other }) => `VLAN ${vlan} is already described at ${other}`,
    cure: 'Describe each VLAN of a site once',
  }),
  SITE_VIP_MISSING: entry<{ vlan: number; pod: string }>({
    message: ({ vlan, pod }) => `${pod} has no VIP on VLAN ${vlan}`,
    cure: ({ vlan }) => `Add the address that its management nodes share on VLAN ${vlan}`,
  }),
  SITE_VIP_OUTSIDE_NETWORK: entry<{ vip: string; vlan: number; cidr: string }>({
    message: ({ vip, vlan, cidr }) => `the VIP ${vip} is not a host address of VLAN ${vlan} (${cidr})`,
    cure: ({ cidr }) => `Choose an address of ${cidr}, or correct the network`,
  }),
  SITE_VLAN_UNKNOWN: entry<{ vlan: number; known: readonly number[] }>({
    message: ({ vlan }) => `VLAN ${vlan} is not a network of the site`,
    cure: ({ known }) => `Describe the network, or use one of VLAN ${known.join(', ') || '(none described)'}`,
  }),
  SITE_ADDRESS_OUTSIDE_NETWORK: entry<{ address: string; vlan: number; cidr: string }>({
    message: ({ address, vlan, cidr }) => `the address ${address} is not a host address of VLAN ${vlan} (${cidr})`,
    cure: ({ cidr }) => `Choose an address of ${cidr}, or correct the network`,
  }),
  SITE_NODE_NAME_MISMATCH: entry<{ node: string; pod: string; site: string }>({
    message: ({ node, pod, site }) => `the management node ${node} does not name ${pod} and ${site} in its second and third dashed field`,
    cure: ({ pod, site }) => `Name it as in mgmt-${pod}-${site}-1: the init container finds its ConfigMap by these fields`,
  }),
  SITE_STORE_FORM: entry<{ store: string }>({
    message: ({ store }) => `the store ${store} is for a DaemonSet per pod, and the site has the original's form`,
    cure: "Remove bmsCore.form, or bmsCore.store; the original's form keeps its records in SQLite",
  }),
  SITE_TFTPBOOT_FORM: entry<{ tftpboot: string; form: string }>({
    message: ({ tftpboot, form }) => `bmsCore.tftpboot is ${tftpboot}, which the form ${form} has not`,
    cure: ({ form }) =>
      form === 'seed'
        ? "Remove it, and the container mounts NFS itself; or set it to 'host'; or remove bmsCore.form"
        : "Remove it, and the kubelet mounts NFS through a PersistentVolume; or set it to 'host'; or set bmsCore.form to 'seed'",
  }),
  SITE_API_FORM: entry<{ pod: string; first: string }>({
    message: ({ pod, first }) =>
      `the API of ${pod} has another port, address or protocol than that of ${first}, and one DaemonSet asks all of them for their health`,
    cure: 'Give all pods the same [DEFAULT] server_port and [api], or remove bmsCore.form: then each pod has a DaemonSet of its own',
  }),
  SITE_STORE_TWICE: entry<{ pod: string; store: string }>({
    message: ({ pod, store }) => `the configuration of ${pod} names another [store] than the site, whose store is ${store}`,
    cure: 'Remove url, password and secrets_key_file from the overrides, or bmsCore.store from the site',
  }),
  SITE_COORDINATION_STORE: entry<Record<never, never>>({
    message: () => 'bmsCore.coordination is kubernetes, and each management node has records of its own, in a file',
    cure: "Set bmsCore.store to 'kubernetes' (or MySQL), so that there is something to share; or remove bmsCore.coordination",
  }),
  SITE_COORDINATION_TWICE: entry<{ pod: string; url: string; coordination: string }>({
    message: ({ pod, url, coordination }) =>
      `[sw_coordination] backend_url of ${pod} is ${url}, and the site coordinates by ${coordination}`,
    cure: ({ coordination }) =>
      coordination === 'kubernetes'
        ? "Remove backend_url from the overrides, or set bmsCore.coordination to 'zookeeper'"
        : "Remove backend_url from the overrides, or set bmsCore.coordination to 'kubernetes'",
  }),
  SITE_COORDINATION_ALONE: entry<{ pod: string; nodes: number }>({
    message: ({ pod, nodes }) =>
      `[sw_coordination] backend_url of ${pod} is memory://, and its ${nodes} management nodes share their records`,
    cure: 'Remove backend_url from the overrides: with memory:// each of them takes the other for dead, and its machines for its own',
  }),
  SITE_SECRETS_KEY_MISSING: entry<{ store: string; namespace: string }>({
    message: ({ store }) => `management nodes share ${store}, and bmsCore.secretsKey names no key that passwords are encrypted under in it`,
    cure: ({ namespace }) =>
      `Create one (openssl rand -base64 32 | kubectl create secret generic bms-secrets-key --namespace ${namespace} --from-file=key=/dev/stdin) and name it: secretsKey: { secretName: 'bms-secrets-key' }`,
  }),
  SITE_QUORUM_IMPOSSIBLE: entry<{ members: number }>({
    message: ({ members }) => `an ensemble of ${members} cannot lose a member and keep a quorum`,
    cure: 'Name three or more hosts: two management nodes alone are not enough, add a node of another pod or a witness',
  }),
  SITE_QUORUM_EVEN: entry<{ members: number }>({
    message: ({ members }) => `an ensemble of ${members} survives no more failures than one of ${members - 1}`,
    cure: 'Name an odd number of hosts',
  }),
  SITE_SECRET_AS_VALUE: entry<{ field: string }>({
    message: ({ field }) => `${field} holds a secret as a value, which would be written to dist/ (value not shown)`,
    cure: 'Create a Secret in the cluster and give its name (credentials: { secretName }) in place of the value',
  }),
});
