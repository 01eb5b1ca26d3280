/** The boot plane as a process of its own, to be run inside a namespace: a `BootPlaneInput` as JSON on stdin, a line of JSON on stdout for what happens. */
import { text } from 'node:stream/consumers';
import {
  bootContent,
  createTftpServer,
  DhcpServer,
  directorySource,
  directoryValidator,
  httpBootHandler,
  tftpBootSource,
} from 'cdk8s-baremetal-runtime/boot/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import type { BootPlaneInput } from './boot-plane.ts';

const { dhcp: settings, boot, machines: records, root } = JSON.parse(await text(process.stdin)) as BootPlaneInput;
const say = (what: Record<string, unknown>): void => void process.stdout.write(`${JSON.stringify(what)}\n`);
const core = { clock: nodeClock, network: nodeNetwork, random: nodeRandom };
const machines = {
  findMachine: async (mac: string) => records.find(({ interfaces }) => interfaces.some((one) => one.mac === mac)),
  findMachineByUuid: async (uuid: string) => records.find((one) => one.uuid === uuid),
};
const dhcp = new DhcpServer({ ...core, settings, boot, machines, onExchange: (dhcp) => say({ dhcp }) });
await dhcp.start();
const content = bootContent({
  ...core,
  machines,
  files: directorySource(root),
  leaseOf: (address) => dhcp.leaseOf(address),
  settings: boot,
  validatorOf: directoryValidator(root),
  onBoot: (file) => say({ file }),
});
await createTftpServer({ ...core, source: tftpBootSource(content), onTransfer: (transfer) => say({ transfer }) }).start();
await nodeNetwork.serveHttp({ port: boot.httpPort ?? 80 }, httpBootHandler(content));
say({ listening: true });
