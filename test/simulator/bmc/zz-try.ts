import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { IpmiGateway, IpmiPower, Secret } from 'cdk8s-baremetal-runtime/power/index';
import { SimulatedBmc } from 'cdk8s-baremetal-simulator/bmc/index';

const deps = { clock: nodeClock, network: nodeNetwork, random: nodeRandom, logger: silentLogger };
if (process.argv[2] === 'bmc') {
  const chassis = {
    powered: false,
    powerOn(b: unknown) {
      this.powered = true;
      console.log('on', b);
    },
    powerOff() {
      this.powered = false;
      console.log('off');
    },
    reset(b: unknown) {
      console.log('reset', b);
    },
  };
  const bmc = await SimulatedBmc.start({
    ...deps,
    address: '127.0.0.1',
    port: 9723,
    users: [{ name: 'admin', password: 'hunter2!', privilege: 'administrator' }],
    chassis,
  });
  setInterval(() => undefined, 1000);
  setTimeout(() => {
    console.log(bmc.stats);
    process.exit(0);
  }, 40000);
} else {
  const gw = new IpmiGateway(deps);
  const p = new IpmiPower(gw, { address: '127.0.0.1', port: Number(process.argv[2]), username: 'admin', password: new Secret('hunter2!') });
  for (const f of ['status', 'deviceId', 'bootFlags', 'on', 'status', 'off', 'status'] as const) {
    try {
      console.log(f, await p[f]());
    } catch (e) {
      console.log(f, String(e));
    }
  }
  try {
    await p.setBootDevice('pxe', { persistent: true });
    console.log(await p.bootFlags());
  } catch (e) {
    console.log(String(e));
  }
  console.log(gw.stats());
  await gw.close();
}
