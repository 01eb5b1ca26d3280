/** Two replicas on one simulated network and one store, and a client. */
import { sleep } from 'cdk8s-baremetal-runtime/core/index';
import { VirtualClock } from 'cdk8s-baremetal-simulator/clock';
import { SimNetwork } from 'cdk8s-baremetal-simulator/network/index';
import { seededRandom } from 'cdk8s-baremetal-simulator/random';
import { type DhcpMessage, decodeDhcp, encodeDhcp } from '../../../../src/runtime/boot/dhcp/codec.ts';
import { type Lease, type LeaseStore, standsInTheWay } from '../../../../src/runtime/boot/dhcp/lease.ts';
import { addressOption, messageType, OPTION } from '../../../../src/runtime/boot/dhcp/options.ts';
import type { DhcpProblem } from '../../../../src/runtime/boot/dhcp/problems.ts';
import { DhcpServer, type DhcpServerOptions } from '../../../../src/runtime/boot/dhcp/server.ts';
import type { DiscoveredMachine } from '../../../../src/runtime/boot/dhcp/strangers.ts';
import { MAC, machine, message, OTHER_MAC, SITE } from './world.ts';

export const A = '192.168.50.20';
export const B = '192.168.50.21';

/** What a database is to several replicas; events come late. */
export class SharedStore implements LeaseStore {
  readonly rows = new Map<string, Lease>();
  private readonly watchers = new Set<(lease: Lease) => void>();

  constructor(
    private readonly clock: VirtualClock,
    private readonly lateMs = 50,
    private readonly saveMs = 0,
  ) {}

  async load(): Promise<readonly Lease[]> {
    return [...this.rows.values()];
  }
  async save(leases: readonly Lease[]): Promise<readonly Lease[]> {
    const inTheWay: Lease[] = [];
    if (this.saveMs > 0) await sleep(this.clock, this.saveMs);
    for (const lease of leases) {
      const stored = this.rows.get(lease.address);
      if (stored && standsInTheWay(stored, lease, this.clock.now())) inTheWay.push(stored);
      else {
        this.rows.set(lease.address, lease);
        this.clock.after(this.lateMs, () => {
          for (const tell of this.watchers) tell(lease);
        });
      }
    }
    if (this.saveMs > 0) await sleep(this.clock, this.saveMs);
    return inTheWay;
  }
  watch(onChange: (lease: Lease) => void): { close(): void } {
    this.watchers.add(onChange);
    return { close: () => this.watchers.delete(onChange) };
  }
}

/** `neighbours`: the ARP table of both. @default none, so that no address is looked for */
export async function world(
  over: Partial<DhcpServerOptions> = {},
  settings: Partial<typeof SITE> = {},
  { lateMs, saveMs, neighbours }: { lateMs?: number; saveMs?: number; neighbours?: ReadonlyMap<string, string> } = {},
) {
  const clock = new VirtualClock();
  const network = new SimNetwork({ clock, random: seededRandom(1) });
  const store = new SharedStore(clock, lateMs, saveMs);
  const problems: DhcpProblem[] = [];
  const found: DiscoveredMachine[] = [];
  const all = [machine({ id: '1', mac: MAC }), machine({ id: '2', mac: OTHER_MAC })];
  const servers: DhcpServer[] = [];
  for (const address of [A, B]) {
    const host = network.host({ name: address, addresses: [`${address}/24`], segment: 'lan' });
    if (neighbours) Object.assign(host, { hardwareAddressOf: (one: string) => neighbours.get(one) });
    const server = new DhcpServer({
      settings: { ...SITE, interfaces: [{ name: 'eth0', address }], ...settings },
      machines: {
        findMachine: async (mac) => all.find(({ interfaces }) => interfaces[0]?.mac === mac),
        findMachineByUuid: async () => undefined,
      },
      clock,
      network: host,
      store,
      peers: () => new Set([A, B]),
      onProblem: (problem) => problems.push(problem),
      onDiscovered: (one) => found.push(one) > 0,
      ...over,
    });
    await server.start();
    servers.push(server);
  }
  const host = network.host({ name: 'client', segment: 'lan' });
  const heard: { type: string | undefined; address: string; server: string | undefined }[] = [];
  const socket = await host.udp(
    { port: 68, broadcast: true },
    {
      onMessage: (data) => {
        const reply = decodeDhcp(data);
        heard.push({ type: messageType(reply), address: reply.yiaddr, server: addressOption(reply, OPTION.serverId) });
      },
    },
  );
  const ask = async (...args: Parameters<typeof message>): Promise<typeof heard> => {
    heard.length = 0;
    socket.send(encodeDhcp(message(...args)), { address: '255.255.255.255', port: 67 });
    await clock.runFor(10);
    return heard.toSorted((a, b) => ((a.server ?? '') < (b.server ?? '') ? -1 : 1));
  };
  /** What another DHCP server broadcasts. */
  const reply = async (serverId: string): Promise<void> => {
    const offer: DhcpMessage = { ...message('offer', { serverId }), op: 'reply' };
    socket.send(encodeDhcp(offer), { address: '255.255.255.255', port: 68 });
    await clock.runFor(10);
  };
  return { clock, servers, ask, heard, reply, problems, found, store };
}
