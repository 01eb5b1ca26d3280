/** The app that bench/synth.ts times: the example, and a site of MACHINES machines in pods of 100. `--objects` prints them as JSON instead. */
import { App, type Chart } from 'cdk8s';
import { Site } from 'cdk8s-baremetal';
import { wuxi2 } from '../examples/wuxi2.ts';

const machines = Number(process.env.MACHINES);
const app = new App();
if (machines === 0) wuxi2(app);
else generatedSite(app, machines);
if (process.argv.includes('--objects')) process.stdout.write(JSON.stringify(app.charts.flatMap((chart: Chart) => chart.toJson())));
else {
  app.synth();
  console.log(process.resourceUsage().maxRSS);
}

function generatedSite(scope: App, count: number): void {
  const site = new Site(scope, 'generated', {
    networks: [
      { vlan: 401, cidr: '10.0.0.0/8' },
      { vlan: 1800, cidr: '172.16.0.0/12' },
    ],
    images: { bmsCore: { repository: 'registry.example.net/bms_core', tag: '1' } },
  });
  for (let index = 0; index < count / 100; index++) {
    const pod = site.addPod(`pod${index}`, {
      managementNodes: [{ name: `mgmt-pod${index}-generated-1` }, { name: `mgmt-pod${index}-generated-2` }],
      vips: { 401: `10.0.${index}.1`, 1800: `172.16.${index}.1` },
    });
    for (let unit = 0; unit < 100; unit++) {
      const hex = (value: number): string => value.toString(16).padStart(2, '0');
      pod.addMachine(`pod${index}-bm-${unit}`, {
        interfaces: [{ mac: `52:54:00:00:${hex(index)}:${hex(unit)}`, vlan: 1800 }],
        bmc: { address: `10.1.${index}.${unit + 1}`, credentials: { secretName: `pod${index}-bmc` } },
        address: `172.17.${index}.${unit + 1}`,
        cpus: 32,
        memoryMb: 131072,
        diskGb: 480,
      });
    }
  }
}
