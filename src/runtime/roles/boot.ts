/**
 * What machines boot from: DHCP, TFTP and HTTP, which all ask the same boot decision; the observer that notes on the machines' records what they answered, and
 * the journal that knows it in detail.
 */
import type { BootReport } from 'cdk8s-baremetal-contract/api/index';
import {
  BootJournal,
  bootContent,
  combine,
  createTftpServer,
  type DhcpExchange,
  DhcpServer,
  type DownloadReport,
  directorySource,
  directoryValidator,
  httpBootHandler,
  missingLoaders,
  parseNetworkLine,
  type TransferReport,
  tftpBootSource,
} from '../boot/index.ts';
import { isoTime } from '../core/iso-time.ts';
import { BootObserver } from '../machine/boot-observer.ts';
import { leaseRecords } from '../machine/lease-records.ts';
import { discoveredEntries, discovering } from './boot-discovery.ts';
import { coreErrors } from './errors.ts';
import { bootServerKind, joinPeers } from './peers.ts';
import { listening, type Role, type Surroundings, startRole } from './role.ts';

const LOADER_CACHE_BYTES = 8 * 1024 * 1024;

type Lease = ReturnType<DhcpServer['leaseOf']>;

export interface BootRole extends Role {
  /** The lease of an interface, when the DHCP service knows one. */
  readonly leaseOfMac: (mac: string) => Lease;
  readonly settings: { readonly http: boolean };
  /** What it noticed of the networks. */
  readonly report: () => Promise<BootReport>;
  /** What it saw of an interface, a line each, oldest first. */
  readonly seen: (mac: string) => readonly string[];
}

export function startBoot(surroundings: Surroundings): Promise<BootRole> {
  return startRole(async (closing) => {
    const { config, store, machines, network, clock, random, logger, metrics, serverAddress } = surroundings;
    const leaseOf = (address: string): Lease => dhcp?.leaseOf(address);
    const observer = new BootObserver({ store, clock, logger, machines, leaseOf });
    closing(() => observer.settled());
    const journal = new BootJournal({ clock, leaseOf });
    const dhcp = await dhcpServer(surroundings, journal, closing, (exchange) => {
      observer.dhcp(exchange);
      journal.dhcp(exchange);
      metrics.add('bms_dhcp_messages_total', { type: exchange.type ?? 'other', answer: exchange.answer });
    });

    const settings = { http: config.http_boot.enabled };
    const { root, loader_dir: loaderFolder } = config.tftp;
    const files = surroundings.files ?? combine(directorySource(root), directorySource(loaderFolder, { cacheBytes: LOADER_CACHE_BYTES }));
    const lacking = (await missingLoaders(files, { root })).map((error) => {
      logger.error({ code: error.code, cure: error.cure }, error.message);
      return `${error.message}. ${error.cure}`;
    });
    metrics.set('bms_boot_loaders_missing', {}, lacking.length);
    const [ofRoot, ofLoaders] = [directoryValidator(root), directoryValidator(loaderFolder)];
    const content = bootContent({
      machines,
      files,
      leaseOf,
      clock,
      settings,
      validatorOf: async (path) => (await ofRoot(path)) ?? ofLoaders(path),
      logger,
      onBoot: (exchange) => {
        observer.boot(exchange);
        journal.boot(exchange);
        metrics.add('bms_boot_requests_total', { protocol: exchange.protocol, answer: exchange.answer });
      },
    });
    if (dhcp) {
      await listening('DHCP', `${serverAddress}:${config.dhcp.port}/udp`, 'dhcp', () => dhcp.start());
      closing(() => dhcp.close());
    }
    if (config.tftp.enabled) {
      const { address, port, max_block_size: blockBytesMax, single_port: singlePort } = config.tftp;
      const onTransfer = (report: TransferReport): void => {
        observer.transfer(report);
        journal.transfer(report);
        metrics.add('bms_tftp_transfers_total', { outcome: report.outcome });
        metrics.add('bms_tftp_sent_bytes_total', {}, report.bytes);
        metrics.add('bms_tftp_retransmits_total', {}, report.retransmits);
        if (report.firstByteMs !== undefined) metrics.observe('bms_tftp_first_byte_seconds', {}, report.firstByteMs / 1000);
      };
      const tftp = createTftpServer({
        ...{ network, clock, random, logger, source: tftpBootSource(content), address, port, singlePort, onTransfer },
        ...(blockBytesMax !== undefined && { blockBytesMax }),
      });
      await listening('TFTP', `${address}:${port}/udp`, 'tftp', () => tftp.start());
      closing(() => tftp.close());
      metrics.collect(() => metrics.set('bms_tftp_transfers', {}, tftp.sessions));
    }
    if (config.http_boot.enabled) {
      const { address, port } = config.http_boot;
      const onDownload = (report: DownloadReport): void => {
        observer.download(report);
        journal.download(report);
        metrics.add('bms_http_downloads_total', { outcome: report.outcome });
        metrics.add('bms_http_sent_bytes_total', {}, report.bytes);
        if (report.firstByteMs !== undefined) metrics.observe('bms_http_first_byte_seconds', {}, report.firstByteMs / 1000);
      };
      const handler = httpBootHandler(content, { clock, onDownload });
      const server = await listening('HTTP boot', `${address}:${port}`, 'http_boot', () => network.serveHttp({ address, port }, handler));
      closing(() => server.close());
    }
    const leaseOfMac = (mac: string): Lease => {
      const address = dhcp?.addressOf(mac);
      return address === undefined ? undefined : leaseOf(address);
    };
    const times = <T extends { firstMs: number; lastMs: number }>({ firstMs, lastMs, ...rest }: T) => ({
      ...rest,
      first: isoTime(firstMs),
      last: isoTime(lastMs),
    });
    return {
      leaseOfMac,
      settings,
      report: async () => ({
        problems: journal.seenProblems.map(times),
        strangers: journal.seenStrangers.map(times),
        discovered: await discoveredEntries(store),
        missingLoaders: lacking,
      }),
      seen: (mac) => journal.of(mac).map(({ atMs, text, count }) => `${isoTime(atMs)} ${text}${count > 1 ? ` (${count} times)` : ''}`),
    };
  });
}

async function dhcpServer(
  surroundings: Surroundings,
  journal: BootJournal,
  closing: (close: () => unknown) => void,
  onExchange: (exchange: DhcpExchange) => void,
): Promise<DhcpServer | undefined> {
  const { config, memberName, serverAddress, provisioningInterfaces = [], store, machines, network, clock, logger, metrics } = surroundings;
  const { dhcp } = config;
  if (!dhcp.enabled) return undefined;
  if (dhcp.mode === 'server' && dhcp.subnet === undefined && dhcp.networks.length === 0)
    throw coreErrors.CORE_DHCP_RANGE({ missing: 'subnet' });
  const range = dhcp.range_start !== undefined && dhcp.range_end !== undefined ? [{ first: dhcp.range_start, last: dhcp.range_end }] : [];
  const dns = dhcp.dns_servers;
  const first =
    dhcp.subnet === undefined
      ? []
      : [
          {
            cidr: dhcp.subnet,
            pools: range,
            dns,
            bootServer: serverAddress,
            ...(dhcp.gateway !== undefined && { gateway: dhcp.gateway }),
          },
        ];
  const interfaces =
    provisioningInterfaces.length > 0 ? provisioningInterfaces : [{ name: dhcp.interfaces[0] ?? 'provisioning', address: serverAddress }];
  const own = interfaces.map(({ address }) => address);
  const peers = await joinPeers(bootServerKind, { store, clock, memberName, own, logger });
  closing(() => peers.close());
  return new DhcpServer({
    settings: {
      mode: dhcp.mode,
      interfaces,
      subnets: [...first, ...dhcp.networks.map((line) => parseNetworkLine(line, { dns }))],
      leaseSeconds: dhcp.lease_time,
      unknownMachines: dhcp.unknown_machines,
      authoritative: dhcp.authoritative,
      probeMs: dhcp.probe_ms,
      watchReplies: dhcp.watch_replies,
      listen: dhcp.listen,
      ports: { server: dhcp.port, bootServer: dhcp.proxy_port },
    },
    boot: { http: config.http_boot.enabled, httpPort: config.http_boot.port },
    machines,
    store: leaseRecords(store, clock),
    clock,
    network,
    logger,
    peers: peers.addresses,
    onExchange,
    onProblem: (problem) => {
      journal.problem(problem);
      metrics.add('bms_dhcp_problems_total', { kind: problem.kind });
    },
    onDiscovered: discovering(surroundings, journal, closing),
  });
}
