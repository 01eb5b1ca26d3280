/** Paths inside the bms-core container, and on its host. */
export const path = {
  configDirectory: '/etc/baremetal-api',
  configFile: '/etc/baremetal-api/baremetal-api.ini',
  /** What the init container leaves for the main one. */
  environmentDirectory: '/config',
  environmentFile: '/config/env',
  logDirectory: '/var/log/cdsstack',
  hostLogDirectory: '/logs/bmscore',
  /** The node database of the embedded form, on the host so that it survives the pod. */
  stateDirectory: '/var/lib/bms-core',
  tftpRoot: '/tftpboot',
  serviceAccount: '/var/run/secrets/kubernetes.io/serviceaccount',
  /** Mounted Secrets with BMC credentials, a folder each. */
  credentialsDirectory: '/etc/baremetal-credentials',
  /** Who may use the API, from a Secret: a directory of its own, since a mounted Secret follows its object only as a whole. */
  apiTokensDirectory: '/etc/baremetal-api-tokens',
  apiTokensFile: '/etc/baremetal-api-tokens/tokens',
  /** The API's certificate, from a Secret of the type kubernetes.io/tls. */
  apiTlsDirectory: '/etc/baremetal-api-tls',
  apiTlsCert: '/etc/baremetal-api-tls/tls.crt',
  apiTlsKey: '/etc/baremetal-api-tls/tls.key',
  /** The key that secrets are encrypted under in a store that replicas share, from a Secret. */
  secretsKeyDirectory: '/etc/baremetal-secrets-key',
  secretsKeyFile: '/etc/baremetal-secrets-key/key',
} as const;
