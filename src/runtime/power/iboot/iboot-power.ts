/** The PowerManager of machines behind a Dataprobe iBoot: a relay in their power cord. It knows on and off, and nothing of boot devices. */
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { type Clock, withDeadline } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { Network, TcpConnection } from '../../core/network.ts';
import { codeOf, powerErrors } from '../errors.ts';
import { Turnstile } from '../ipmi/turnstile.ts';
import type { PowerManager, PowerState } from '../power-manager.ts';
import type { IBootTarget } from '../power-url.ts';
import { DXP_HELLO, DxpDescriptor, encodeDxp } from './dxp.ts';

export interface IBootDeps {
  readonly clock: Clock;
  readonly network: Network;
  readonly logger: Logger;
  /** Default 10,000. */
  readonly limitMs?: number;
}

const LIMIT_MS = 10_000;

/** One queue for each device: it serves one connection at a time, and its relays share it. */
export class IBootDevices {
  readonly #queues = new Map<string, Turnstile>();

  queue(device: string): Turnstile {
    const queue = this.#queues.get(device) ?? new Turnstile(1);
    this.#queues.set(device, queue);
    return queue;
  }
}

export class IBootPower implements PowerManager {
  readonly #device: string;
  readonly #queue: Turnstile;

  constructor(
    private readonly target: IBootTarget & { readonly username: string; readonly password: Secret },
    private readonly deps: IBootDeps,
    devices: IBootDevices,
  ) {
    this.#device = `${target.address}:${target.port}`;
    this.#queue = devices.queue(this.#device);
    encodeDxp({ ...this.#credentials(), descriptor: 0, sequence: 0, payload: new Uint8Array(0) }); // user and password fit, or this throws
  }

  status(signal?: AbortSignal): Promise<PowerState> {
    const { relay } = this.target;
    return this.#ask('the state of its relays', signal, async (stream, sequence) => {
      await stream.send(encodeDxp({ ...this.#credentials(), descriptor: DxpDescriptor.getRelays, sequence, payload: new Uint8Array(0) }));
      const states = await stream.take(relay);
      return states[relay - 1] === 1 ? 'on' : 'off';
    });
  }

  on(signal?: AbortSignal): Promise<void> {
    return this.#switch(1, signal);
  }

  off(signal?: AbortSignal): Promise<void> {
    return this.#switch(0, signal);
  }

  /** A relay cannot ask an operating system: nobody listens, and the caller's deadline ends in `off`. */
  async softOff(): Promise<void> {
    this.deps.logger.info({ device: this.#device }, 'an iBoot cannot ask for a shutdown; the power is cut when the deadline has passed');
  }

  /** The machine boots in the order of its own setup, where the network has to come first. */
  async setBootDevice(): Promise<void> {
    this.deps.logger.debug({ device: this.#device }, 'an iBoot knows no boot device');
  }

  async close(): Promise<void> {
    // every request has a connection of its own: nothing is held
  }

  #switch(state: 0 | 1, signal: AbortSignal | undefined): Promise<void> {
    const { relay } = this.target;
    const what = `to switch relay ${relay} ${state === 1 ? 'on' : 'off'}`;
    return this.#ask(what, signal, async (stream, sequence) => {
      const payload = Uint8Array.of(relay, state);
      await stream.send(encodeDxp({ ...this.#credentials(), descriptor: DxpDescriptor.changeRelay, sequence, payload }));
      const [answer] = await stream.take(1);
      if (answer !== 0) throw powerErrors.IBOOT_REFUSED({ device: this.#device, what });
    });
  }

  #credentials(): { readonly username: string; readonly password: string } {
    return { username: this.target.username, password: this.target.password.reveal() };
  }

  async #ask<T>(what: string, signal: AbortSignal | undefined, work: (stream: ByteStream, sequence: number) => Promise<T>): Promise<T> {
    const { clock, network, limitMs = LIMIT_MS } = this.deps;
    const device = this.#device;
    const noAnswer = (why: string, options?: ErrorOptions): Error => powerErrors.IBOOT_NO_ANSWER({ device, what, why }, options);
    await this.#queue.enter(signal);
    let connection: TcpConnection | undefined;
    try {
      return await withDeadline(
        clock,
        limitMs,
        () => noAnswer(`${limitMs / 1000} s have passed`),
        async (limited) => {
          const { address, port } = this.target;
          connection = await network.connect({ address, port, signal: limited });
          const stream = new ByteStream(connection);
          await stream.send(DXP_HELLO);
          const sequence = (await stream.take(2)).readUInt16LE(0);
          return work(stream, sequence + 1);
        },
        signal,
      );
    } catch (error) {
      if (signal?.aborted || codeOf(error).startsWith('IBOOT_')) throw error;
      throw noAnswer(error instanceof Error ? error.message : String(error), { cause: error });
    } finally {
      connection?.destroy();
      this.#queue.leave();
    }
  }
}

class ByteStream {
  #buffered: Buffer = Buffer.alloc(0);
  readonly #chunks: AsyncIterator<Uint8Array>;

  constructor(private readonly connection: TcpConnection) {
    this.#chunks = connection[Symbol.asyncIterator]();
  }

  send(data: Uint8Array): Promise<void> {
    return this.connection.write(data);
  }

  async take(count: number): Promise<Buffer> {
    while (this.#buffered.length < count) {
      const { value, done } = await this.#chunks.next();
      if (done) throw new Error('it closed the connection, as with a wrong user or password');
      this.#buffered = Buffer.concat([this.#buffered, value]);
    }
    const taken = this.#buffered.subarray(0, count);
    this.#buffered = this.#buffered.subarray(count);
    return taken;
  }
}
