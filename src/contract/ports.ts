/** Ports, as standards and the originals have them. Every daemon takes another one by configuration. */
export const port = {
  /** bms-core's API: server_port. */
  api: 7081,
  /** deploy-helper: where a deploy ramdisk posts, and where the ramdisk itself listens for "done". */
  deployHelper: 10000,
  dhcpServer: 67,
  dhcpClient: 68,
  tftp: 69,
  /** PXE boot server discovery (proxyDHCP). */
  pxe: 4011,
  ipmi: 623,
  iscsi: 3260,
  zookeeper: 2181,
  zookeeperPeer: 2888,
  zookeeperElection: 3888,
  /** ZooKeeper's admin server. */
  zookeeperAdmin: 8080,
  nfs: 2049,
  /** bms_control's task notifications. */
  schedulerCallback: 17070,
} as const;
