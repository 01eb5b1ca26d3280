/** What machines boot from: DHCP, TFTP and HTTP, which all ask the same boot decision; and the observer that notes what they answered. */
import {
  bootContent,
  createTftpServer,
  DhcpServer,
  directorySource,
  directoryValidator,
  httpBootHandler,
  tftpBootSource,
} from '../boot/index.ts';
import { BootObserver } from '../machine/boot-observer.ts';
import { leaseRecords } from '../machine/lease-records.ts';
import { coreErrors } from './errors.ts';
import { listening, type Role, type Surroundings, startRole } from './role.ts';

type Lease = ReturnType<DhcpServer['leaseOf']>;

export interface BootRole extends Role {
  /** The lease of an interface, when the DHCP service knows one. */
  readonly leaseOfMac: (mac: string) => Lease;
  readonly settings: { readonly http: boolean };
}

export function startBoot(surroundings: Surroundings): Promise<BootRole> {
  return startRole(async (closing) => {
    const { config, store, machines, network, clock, random, logger, serverAddress, files } = surroundings;
    const dhcp = dhcpServer(surroundings, (exchange) => observer.dhcp(exchange));
    const leaseOf = (address: string): Lease => dhcp?.leaseOf(address);
    const observer: BootObserver = new BootObserver({ store, clock, logger, machines, leaseOf });
    closing(() => observer.settled());
    const settings = { http: config.http_boot.enabled };
    const content = bootContent({
      machines,
      files: files ?? directorySource(config.tftp.root),
      leaseOf,
      clock,
      settings,
      validatorOf: directoryValidator(config.tftp.root),
      logger,
      onBoot: (exchange) => observer.boot(exchange),
    });
    if (dhcp) {
      await listening('DHCP', `${serverAddress}:${config.dhcp.port}/udp`, 'dhcp', () => dhcp.start());
      closing(() => dhcp.close());
    }
    if (config.tftp.enabled) {
      const { address, port } = config.tftp;
      const source = tftpBootSource(content);
      const onTransfer = observer.transfer.bind(observer);
      const tftp = createTftpServer({ network, clock, random, logger, source, address, port, onTransfer });
      await listening('TFTP', `${address}:${port}/udp`, 'tftp', () => tftp.start());
      closing(() => tftp.close());
    }
    if (config.http_boot.enabled) {
      const { address, port } = config.http_boot;
      const handler = httpBootHandler(content);
      const server = await listening('HTTP boot', `${address}:${port}`, 'http_boot', () => network.serveHttp({ address, port }, handler));
      closing(() => server.close());
    }
    const leaseOfMac = (mac: string): Lease => {
      const address = dhcp?.addressOf(mac);
      return address === undefined ? undefined : leaseOf(address);
    };
    return { leaseOfMac, settings };
  });
}

function dhcpServer(
  { config, serverAddress, store, machines, network, clock, logger }: Surroundings,
  onExchange: ConstructorParameters<typeof DhcpServer>[0]['onExchange'],
): DhcpServer | undefined {
  const { dhcp } = config;
  if (!dhcp.enabled) return undefined;
  if (dhcp.mode === 'server' && dhcp.subnet === undefined) throw coreErrors.CORE_DHCP_RANGE({ missing: 'subnet' });
  const range = dhcp.range_start !== undefined && dhcp.range_end !== undefined ? [{ first: dhcp.range_start, last: dhcp.range_end }] : [];
  return new DhcpServer({
    settings: {
      mode: dhcp.mode,
      interfaces: [{ name: dhcp.interfaces[0] ?? 'provisioning', address: serverAddress }],
      subnets:
        dhcp.subnet === undefined
          ? []
          : [
              {
                cidr: dhcp.subnet,
                pools: range,
                dns: dhcp.dns_servers,
                bootServer: serverAddress,
                ...(dhcp.gateway !== undefined && { gateway: dhcp.gateway }),
              },
            ],
      leaseSeconds: dhcp.lease_time,
      ports: { server: dhcp.port, bootServer: dhcp.proxy_port },
    },
    boot: { http: config.http_boot.enabled, httpPort: config.http_boot.port },
    machines,
    store: leaseRecords(store, clock),
    clock,
    network,
    logger,
    ...(onExchange && { onExchange }),
  });
}
