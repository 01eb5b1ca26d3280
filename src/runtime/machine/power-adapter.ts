import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import {
  isPermanent,
  type PowerCycleOptions,
  type PowerDriverName,
  type PowerManager,
  type PowerManagerFactory,
  type PowerOutcome,
  powerOff,
  powerOn,
  type Secret,
} from '../power/index.ts';
import type { NodeRecord } from './node-record.ts';
import type { MachinePower } from './ports.ts';
import type { SecretSource } from './secrets.ts';

export interface PowerAdapterOptions {
  readonly drivers: Readonly<Partial<Record<PowerDriverName, PowerManagerFactory>>>;
  readonly secrets: SecretSource;
  readonly clock: Clock;
  readonly logger: Logger;
  /** [baremetal] ipmi_power_retry. Default 10. */
  readonly ipmiPowerRetry?: number;
}

interface Held {
  readonly manager: PowerManager;
  /** What it was made from: another address or password makes another manager. */
  readonly access: string;
  readonly password: Secret;
}

/** The power plane's drivers as the machine's life asks for them. Managers are kept per machine, since sessions are dear. */
export class PowerAdapter implements MachinePower {
  readonly #options: PowerAdapterOptions;
  readonly #held = new Map<string, Held>();
  /** Of managers that were replaced: a BMC that does not answer takes its time, and nobody waits for it but `close`. */
  readonly #closings = new Set<Promise<void>>();

  constructor(options: PowerAdapterOptions) {
    this.#options = options;
  }

  status(node: NodeRecord, signal: AbortSignal): Promise<'on' | 'off'> {
    return this.#with(node, (manager) => manager.status(signal));
  }

  ensureOn(node: NodeRecord, signal: AbortSignal): Promise<void> {
    return this.#with(node, async (manager) => reached(await powerOn(manager, this.#cycle(node, signal)), 'on'));
  }

  ensureOff(node: NodeRecord, signal: AbortSignal): Promise<void> {
    return this.#with(node, async (manager) => reached(await powerOff(manager, this.#cycle(node, signal)), 'off'));
  }

  softOff(node: NodeRecord, signal: AbortSignal): Promise<void> {
    return this.#with(node, (manager) => manager.softOff(signal));
  }

  setBootDevice(node: NodeRecord, device: 'pxe' | 'disk', options: { readonly persistent: boolean }, signal: AbortSignal): Promise<void> {
    return this.#with(node, (manager) => manager.setBootDevice(device, options, signal));
  }

  async close(): Promise<void> {
    const held = [...this.#held.values()];
    this.#held.clear();
    await Promise.all([...held.map(({ manager }) => manager.close()), ...this.#closings]);
  }

  #cycle(node: NodeRecord, signal: AbortSignal): PowerCycleOptions {
    const { clock, logger, ipmiPowerRetry } = this.#options;
    return { clock, logger: logger.child({ node: node.name }), signal, ...(ipmiPowerRetry !== undefined && { ipmiPowerRetry }) };
  }

  async #with<R>(node: NodeRecord, work: (manager: PowerManager) => Promise<R>): Promise<R> {
    try {
      return await work(await this.#manager(node));
    } catch (error) {
      // A wrong password stays wrong, and trying it again locks accounts.
      if (isPermanent(error) && error instanceof Error) throw Object.assign(error, { permanent: true });
      throw error;
    }
  }

  #closeLater(manager: PowerManager): void {
    const closing: Promise<void> = manager
      .close()
      .catch(() => undefined) // it was of no use any more
      .finally(() => this.#closings.delete(closing));
    this.#closings.add(closing);
  }

  async #manager(node: NodeRecord): Promise<PowerManager> {
    const { driver, address, port, username, passwordRef } = node.bmc;
    if (driver === 'none') throw Object.assign(new Error('nobody has said where its BMC is'), { permanent: true });
    const factory = this.#options.drivers[driver];
    if (factory === undefined) throw Object.assign(new Error(`there is no power driver "${driver}" here`), { permanent: true });
    const password = await this.#options.secrets.read(passwordRef);
    const access = JSON.stringify([driver, address, port, username]);
    const held = this.#held.get(node.uuid);
    if (held?.access === access && held.password.equals(password)) return held.manager;
    const manager = factory({ address, ...(port !== undefined && { port }), username, password });
    this.#held.set(node.uuid, { manager, access, password });
    if (held) this.#closeLater(held.manager);
    return manager;
  }
}

function reached(outcome: PowerOutcome, wanted: 'on' | 'off'): void {
  if (outcome.state !== 'error') return;
  const why = outcome.lastError === undefined ? 'it accepted the command and did not change' : messageOf(outcome.lastError);
  throw new Error(`the machine is not ${wanted} after ${outcome.retries} looks: ${why}`, { cause: outcome.lastError });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
