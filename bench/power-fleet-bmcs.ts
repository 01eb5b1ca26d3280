/** The other side of bench/power-fleet.ts: so many simulated BMCs in this process, each on a loopback address of its own. */
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { SimulatedBmc } from 'cdk8s-baremetal-simulator/bmc/index';
import { addressOf } from './power-fleet.ts';

const count = Number(process.argv[2]);
const probe = await nodeNetwork.udp({ address: '127.10.0.1' }, { onMessage: () => undefined });
const { port } = probe.local;
await probe.close();
const deps = { clock: nodeClock, network: nodeNetwork, random: nodeRandom, logger: silentLogger };
const users = [{ name: 'admin', password: 'correct-horse', privilege: 'administrator' }] as const;
const bmcs: SimulatedBmc[] = [];
for (let i = 0; i < count; i++) {
  const chassis = {
    powered: i % 2 === 0,
    powerOn() {
      this.powered = true;
    },
    powerOff() {
      this.powered = false;
    },
    reset: () => undefined,
  };
  bmcs.push(await SimulatedBmc.start({ ...deps, address: addressOf(i), port, users, chassis, sensors: [] }));
}
process.on('message', (message) => {
  const { dead } = message as { dead: number };
  for (const bmc of bmcs.slice(0, Math.round(count * dead))) bmc.faults.dead = true;
});
process.on('disconnect', () => process.exit(0));
process.send?.({ port });
