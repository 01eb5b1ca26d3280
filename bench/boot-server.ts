/** Our HTTP boot or DHCP as a process of its own: `boot-server.ts http ROOT` prints its port, `boot-server.ts dhcp ADDRESS` prints when it listens. */
import { bootContent, DhcpServer, directorySource, directoryValidator, httpBootHandler } from 'cdk8s-baremetal-runtime/boot/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';

const [what, where = ''] = process.argv.slice(2);
const machines = { findMachine: async () => undefined, findMachineByUuid: async () => undefined };
if (what === 'http') {
  const content = bootContent({
    machines,
    files: directorySource(where),
    leaseOf: () => undefined,
    clock: nodeClock,
    validatorOf: directoryValidator(where),
  });
  const server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, httpBootHandler(content));
  console.log(server.local.port);
} else {
  const server = new DhcpServer({
    settings: {
      mode: 'server',
      interfaces: [{ name: 'eth0', address: where }],
      subnets: [{ cidr: '10.0.0.0/8', pools: [{ first: '10.1.0.1', last: '10.5.255.254' }] }],
      unknownMachines: 'offer',
      probeMs: 0, // dnsmasq is told --no-ping, and Kea does not look either
    },
    machines,
    clock: nodeClock,
    network: nodeNetwork,
  });
  await server.start();
  console.log('listening');
}
process.once('SIGTERM', () => process.exit(0));
