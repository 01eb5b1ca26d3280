/** What the boot plane saw of a machine, written on its record: the timeline that people read and deadlines are explained by. */
import type { BootExchange, BootLease, BootMachines, DhcpExchange, DownloadReport, TransferReport } from '../boot/index.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Store } from '../store/index.ts';
import { findNodeByMac } from './nodes.ts';
import { type Observation, observe } from './timeline.ts';

export interface BootObserverOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly machines: BootMachines;
  readonly leaseOf: (address: string) => BootLease | undefined;
}

/** A machine that asks in a loop while the store stands still must not fill the memory. */
const MOST_WAITING = 1_024;

export class BootObserver {
  /** One at a time: the order of a machine's events is what they are kept for. */
  private queue: Promise<void> = Promise.resolve();
  private waiting = 0;
  private dropping = false;

  constructor(private readonly options: BootObserverOptions) {}

  /** For DhcpServer's onExchange. */
  dhcp(exchange: DhcpExchange): void {
    const { mac, type, address, answer, uses } = exchange;
    const leased = answer === 'ack' && type !== 'inform'; // who informs names an address of its own
    if (mac === undefined || address === undefined || !(leased || uses)) return;
    this.note(mac, async () => ({ type: 'DHCP lease', detail: address, lease: { mac, address } }));
  }

  /** For bootContent's onBoot: a configuration that was given out says what the machine is about to start. */
  boot(exchange: BootExchange): void {
    const { path, protocol, address, answer, reasons } = exchange;
    const mac = this.options.leaseOf(address)?.mac;
    if (mac === undefined) return;
    if (answer === 'config') {
      this.note(mac, async () => {
        const intent = await this.intentOf(mac);
        // the address that was given the configuration is the one that may use the key in it; beside another DHCP server nothing else may have told it
        return { type: `${protocol.toUpperCase()} configuration`, detail: path, lease: { mac, address }, ...(intent && { intent }) };
      });
    } else if (answer !== 'file' && answer !== 'no-such-file' && answer !== 'missing') {
      // loaders try many names: one that is not there says nothing
      this.note(mac, async () => ({ type: `${protocol.toUpperCase()} refused`, detail: `${path}: ${reasons.join('; ')}` }));
    }
  }

  /** For the TFTP server's onTransfer. */
  transfer(report: TransferReport): void {
    if (report.outcome !== 'refused') this.end('TFTP', report);
  }

  /** For httpBootHandler's onDownload. */
  download(report: DownloadReport): void {
    this.end('HTTP', report);
  }

  /** Resolves when everything seen so far is on record. */
  settled(): Promise<void> {
    return this.queue;
  }

  private end(protocol: 'TFTP' | 'HTTP', { remote, file, bytes, outcome }: TransferReport | DownloadReport): void {
    const mac = this.options.leaseOf(remote.address)?.mac;
    if (mac === undefined) return;
    const served = outcome === 'complete' || outcome === 'unconfirmed';
    const detail = served ? `${file}, ${bytes} bytes` : `${file}: ${outcome} after ${bytes} bytes`;
    this.note(mac, async () => ({ type: `${protocol} ${served ? 'served' : 'not served'}`, detail }));
  }

  private note(mac: string, see: () => Promise<Observation>): void {
    const { store, clock, logger } = this.options;
    if (this.waiting >= MOST_WAITING) {
      if (!this.dropping) logger.warn({ mac }, 'the store is slower than what is seen: observations are left out');
      this.dropping = true;
      return;
    }
    this.waiting++;
    this.queue = this.queue.then(async () => {
      try {
        const node = await findNodeByMac(store, mac);
        if (node) await observe({ store, clock }, node.id, await see());
      } catch (error) {
        logger.warn({ mac, error: error instanceof Error ? error.message : String(error) }, 'an observation was not recorded');
      } finally {
        this.waiting--;
        this.dropping &&= this.waiting > 0;
      }
    });
  }

  private async intentOf(mac: string): Promise<Observation['intent']> {
    const boot = (await this.options.machines.findMachine(mac))?.boot.kind;
    switch (boot) {
      case 'deploy':
        return 'deploy';
      case 'network':
        return 'boot';
      case 'local-disk':
        return 'local';
      default:
        return 'none';
    }
  }
}
