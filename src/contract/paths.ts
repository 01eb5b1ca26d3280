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
} as const;
