/** Our TFTP server as a process of its own, for bench/boot.ts: `node tftp-server.ts ROOT ADDRESS`; prints its port. */
import { createTftpServer, directorySource } from 'cdk8s-baremetal-runtime/boot/tftp/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';

const [root = '', address = '127.0.0.1'] = process.argv.slice(2);
const server = createTftpServer({
  network: nodeNetwork,
  clock: nodeClock,
  random: nodeRandom,
  source: directorySource(root),
  address,
  port: 0,
});
console.log((await server.start()).port);
process.once('SIGTERM', () => void server.close(0));
