/** Our simulated BMC as a program of its own, for a network namespace: `bmc-main.ts SETTINGS`. */
import { appendFileSync, readFileSync } from 'node:fs';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { type BootOverride, SimulatedBmc } from '../../src/simulator/bmc/index.ts';

const { address, port, username, password, control, power } = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'));
const tell = (line: string): void => appendFileSync(control, `${line}\n`);
const first = ({ device }: BootOverride): void => tell(`boot ${device}`);

await SimulatedBmc.start({
  clock: nodeClock,
  random: nodeRandom,
  network: nodeNetwork,
  logger: silentLogger,
  address,
  port,
  users: [{ name: username, password, privilege: 'administrator' }],
  chassis: {
    get powered() {
      return readFileSync(power, 'utf8').trim() === '1';
    },
    powerOn: (boot) => {
      first(boot);
      tell('on');
    },
    powerOff: () => tell('off'),
    reset: (boot) => {
      first(boot);
      tell('reset');
    },
  },
});
