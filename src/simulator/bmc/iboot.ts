/** A Dataprobe iBoot without hardware: relays that switch whatever is behind them, over any `Network`. One connection at a time, as the device has it. */
import type { Endpoint, Network, TcpConnection, TcpListener } from 'cdk8s-baremetal-runtime/core/index';
import { DXP_HEADER_BYTES, DXP_HELLO, DxpDescriptor, decodeDxp } from 'cdk8s-baremetal-runtime/power/iboot/dxp';

export interface SimulatedIBootOptions {
  readonly network: Network;
  readonly address?: string;
  readonly port: number;
  readonly username: string;
  readonly password: string;
  readonly relays: number;
}

export class SimulatedIBoot {
  /** From relay 1 on. */
  readonly states: boolean[];
  /** Commands are accepted and nothing switches. */
  stuck = false;
  /** It takes the connection and says nothing. */
  silent = false;
  connections = 0;
  mostAtOnce = 0;
  #atOnce = 0;
  #listener: TcpListener | undefined;

  private constructor(private readonly options: SimulatedIBootOptions) {
    this.states = Array<boolean>(options.relays).fill(false);
  }

  static async start(options: SimulatedIBootOptions): Promise<SimulatedIBoot> {
    const device = new SimulatedIBoot(options);
    const { network, address, port } = options;
    device.#listener = await network.listen(
      { port, ...(address !== undefined && { address }) },
      (connection) => void device.#serve(connection),
    );
    return device;
  }

  get local(): Endpoint {
    return this.#listener?.local ?? { address: '', port: 0 };
  }

  async close(): Promise<void> {
    await this.#listener?.close();
  }

  async #serve(connection: TcpConnection): Promise<void> {
    this.connections += 1;
    this.#atOnce += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#atOnce);
    try {
      let buffered: Buffer = Buffer.alloc(0);
      let sequence: number | undefined;
      for await (const data of connection) {
        if (this.silent) continue;
        buffered = Buffer.concat([buffered, data]);
        if (sequence === undefined && buffered.length >= DXP_HELLO.length) {
          if (!buffered.subarray(0, DXP_HELLO.length).equals(DXP_HELLO)) return;
          buffered = buffered.subarray(DXP_HELLO.length);
          sequence = 41 + this.connections;
          await connection.write(Uint8Array.of(sequence & 0xff, sequence >> 8));
        }
        const answer = sequence === undefined ? undefined : this.#answer(buffered, sequence + 1);
        if (answer === 'closed') return;
        if (answer) await connection.write(answer);
        if (answer) buffered = Buffer.alloc(0);
      }
    } catch {
      // the client went away
    } finally {
      this.#atOnce -= 1;
      connection.destroy();
    }
  }

  #answer(data: Buffer, sequence: number): Uint8Array | 'closed' | undefined {
    const request = data.length >= DXP_HEADER_BYTES ? decodeDxp(data) : undefined;
    if (!request) return undefined;
    const { username, password } = this.options;
    if (request.username !== username || request.password !== password || request.sequence !== sequence) return 'closed';
    if (request.descriptor === DxpDescriptor.getRelays) return Uint8Array.from(this.states, (on) => (on ? 1 : 0));
    const [relay, state] = request.payload;
    if (request.descriptor !== DxpDescriptor.changeRelay || relay === undefined || state === undefined) return undefined;
    if (relay < 1 || relay > this.states.length || state > 1) return Uint8Array.of(1);
    if (!this.stuck) this.states[relay - 1] = state === 1;
    return Uint8Array.of(0);
  }
}
