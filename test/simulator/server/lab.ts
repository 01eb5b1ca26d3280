/** A simulated server on a virtual clock, with a boot server that does exactly what a test tells it. */
import {
  addressesValue,
  type DhcpMessage,
  decodeDhcp,
  encodeDhcp,
  macOf,
  messageType,
  OPTION,
  textValue,
  typeOption,
} from 'cdk8s-baremetal-runtime/boot/dhcp/index';
import { createTftpServer, memorySource } from 'cdk8s-baremetal-runtime/boot/tftp/index';
import { type HttpHandler, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { MemoryDisk, type SimHost, SimNetwork, seededRandom, VirtualClock } from 'cdk8s-baremetal-simulator';
import { broadcastWire, type ServerEvent, SimulatedServer, type SimulatedServerOptions } from 'cdk8s-baremetal-simulator/server/index';

export const MAC = '52:54:00:45:00:01';
export const ADDRESS = '192.168.50.120';
export const BOOT_SERVER = '192.168.50.20';
export const CONFIG = `pxelinux.cfg/01-${MAC.replaceAll(':', '-')}`;
const SEGMENT = 'lan';

export interface DhcpHeard {
  readonly atMs: number;
  readonly type: string;
  readonly secs: number;
}

export type DhcpAnswer = 'offer' | 'ack' | 'nak' | 'nothing' | 'no boot file';

export class ServerLab {
  readonly clock = new VirtualClock();
  readonly network = new SimNetwork({ clock: this.clock, random: seededRandom('network') });
  readonly host: SimHost;
  readonly boot: SimHost;
  readonly disk = new MemoryDisk({ sizeBytes: 1024 * 1024 });
  readonly events: ServerEvent[] = [];
  readonly server: SimulatedServer;
  readonly heard: DhcpHeard[] = [];
  /** What the DHCP server says to each message, by default the right thing. */
  dhcp: (type: string, count: number) => DhcpAnswer = (type) => (type === 'discover' ? 'offer' : 'ack');
  readonly files = new Map<string, Uint8Array | string>([
    ['pxelinux.0', Buffer.alloc(2_000, 1)],
    ['kernel', Buffer.alloc(5_000, 2)],
    ['ramdisk', Buffer.alloc(5_000, 3)],
  ]);
  /** How the deploy-helper answers each POST; each body is kept. */
  helper: (tries: number) => { status: number; body?: string } | 'drop' = () => ({ status: 200 });
  readonly posts: URLSearchParams[] = [];
  /** Open sockets of the machine, by what they are. */
  readonly open = new Map<number, string>();
  private count = 0;

  constructor(options: Partial<SimulatedServerOptions> = {}) {
    this.boot = this.network.host({ name: 'boot', segment: SEGMENT, addresses: [`${BOOT_SERVER}/24`] });
    this.host = this.network.host({ name: 'bm', segment: SEGMENT });
    this.watchSockets();
    this.server = new SimulatedServer({
      name: 'bm',
      mac: MAC,
      disk: this.disk,
      diskSerial: 'SIM-1',
      wire: broadcastWire(this.host),
      network: this.host,
      configureAddress: (address) => this.host.attach(SEGMENT, `${address}/24`),
      clock: this.clock,
      random: seededRandom('server'),
      logger: silentLogger,
      selfTestMs: 1_000,
      onEvent: (event) => this.events.push(event),
      ...options,
    });
  }

  /** The boot server listens. */
  async start(): Promise<void> {
    const { clock, boot } = this;
    const random = seededRandom('boot');
    const sender = await clock.run(
      boot.udp({ port: 67, broadcast: true }, { onMessage: (data) => this.onDhcp(decodeDhcp(data), (message) => reply(message)) }),
    );
    const reply = (message: DhcpMessage): void => sender.send(encodeDhcp(message), { address: '255.255.255.255', port: 68 });
    const tftp = createTftpServer({ network: boot, clock, random, logger: silentLogger, source: memorySource(this.files), port: 69 });
    await clock.run(tftp.start());
    const handler: HttpHandler = async ({ body }) => {
      this.posts.push(new URLSearchParams(Buffer.from(body).toString()));
      const answer = this.helper(this.posts.length);
      if (answer === 'drop') throw new Error('dropped');
      return answer;
    };
    await clock.run(boot.serveHttp({ port: 10_000 }, handler));
  }

  /** Configuration that starts the deploy ramdisk. */
  deploy(append = 'iscsi_target_iqn=iqn.2010-10.org.openstack.baremetal:d-1 deployment_id=7 deployment_key=KEY'): void {
    this.files.set(CONFIG, `default deploy\n\nlabel deploy\nkernel kernel\nappend initrd=ramdisk ${append}\nipappend 3\n`);
  }

  /** What the disk says to a BIOS. */
  async makeBootable(): Promise<void> {
    const sector = new Uint8Array(512);
    sector.set([0x55, 0xaa], 510);
    await this.disk.write(0, sector);
  }

  types(): string[] {
    return this.events.map(({ type }) => type);
  }

  async until(type: string): Promise<ServerEvent> {
    await this.clock.runUntil(() => this.types().includes(type), { limitMs: 3_600_000 });
    return this.events.find((event) => event.type === type) ?? { server: '', at: 0, type };
  }

  private onDhcp(message: DhcpMessage, send: (reply: DhcpMessage) => void): void {
    const type = messageType(message) ?? '';
    this.heard.push({ atMs: this.clock.monotonic(), type, secs: message.secs });
    const answer = this.dhcp(type, this.heard.filter((known) => known.type === type).length);
    if (answer === 'nothing' || macOf(message) !== MAC) return;
    const bootFile = answer === 'no boot file' ? '' : 'pxelinux.0';
    const kind = answer === 'no boot file' ? (type === 'discover' ? 'offer' : 'ack') : answer;
    send({
      ...message,
      op: 'reply',
      yiaddr: answer === 'nak' ? '0.0.0.0' : ADDRESS,
      siaddr: BOOT_SERVER,
      file: bootFile,
      options: new Map([
        [OPTION.messageType, typeOption(kind)],
        [OPTION.serverId, addressesValue(BOOT_SERVER)],
        [OPTION.subnetMask, addressesValue('255.255.255.0')],
        [OPTION.vendorClass, textValue('PXEClient')],
      ]),
    });
  }

  /** Counts what the machine opens and closes. */
  private watchSockets(): void {
    const { host } = this;
    const { udp, listen } = host;
    const opened = (what: string): (() => void) => {
      const number = ++this.count;
      this.open.set(number, what);
      return () => this.open.delete(number);
    };
    host.udp = async (options, handlers) => {
      const socket = await udp.call(host, options, handlers);
      const end = opened(`udp ${socket.local.port}`);
      return {
        ...socket,
        close: async () => {
          await socket.close();
          end();
        },
      };
    };
    host.listen = async (options, onConnection) => {
      const listener = await listen.call(host, options, onConnection);
      const end = opened(`tcp ${options.port}`);
      return Object.assign(Object.create(listener), {
        local: listener.local,
        close: async () => {
          await listener.close();
          end();
        },
      });
    };
  }
}
