import { VirtualClock } from '../../src/simulator/clock.ts';
import type { LinkFaults } from '../../src/simulator/network/index.ts';
import { SimNetwork } from '../../src/simulator/network/index.ts';
import { seededRandom } from '../../src/simulator/random.ts';
import { describeNetwork, type NetworkUnderTest } from '../runtime/core/network-contract.ts';

function simulated(faults: Partial<LinkFaults>, tcpSegmentBytes?: number): NetworkUnderTest {
  const clock = new VirtualClock();
  const network = new SimNetwork({ clock, random: seededRandom('contract'), ...(tcpSegmentBytes && { tcpSegmentBytes }) });
  network.segment('lan').degrade(faults);
  return {
    server: network.host({ name: 'server', addresses: ['192.0.2.1/24'], segment: 'lan' }),
    client: network.host({ name: 'client', addresses: ['192.0.2.2/24'], segment: 'lan' }),
    serverAddress: '192.0.2.1',
    clientAddress: '192.0.2.2',
    run: (work) => clock.run(work),
  };
}

describeNetwork('SimNetwork', () => simulated({}));
describeNetwork('SimNetwork on a slow line', () => simulated({ latencyMs: 300, bytesPerSecond: 10_000_000 }));
describeNetwork('SimNetwork with jitter and Ethernet-sized segments', () => simulated({ jitterMs: 4 }, 1460));
