/** The serial console of a simulated BMC: one payload, one session that has it, packets sent again until they are acknowledged. */
import type { Clock, Timer } from 'cdk8s-baremetal-runtime/core/index';
import { decodeSol, encodeSol, nextSolSequence, SolOperation, type SolPacket, SolStatus } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import type { ActiveSession } from './bmc-sessions.ts';

/** The machine's serial port. */
export interface SerialPort {
  /** Characters from the console. */
  input(data: Uint8Array): void;
  break?(): void;
  /** Where the machine's own characters go while a console is open; undefined when it closes. */
  output(listener: ((data: Uint8Array) => void) | undefined): void;
}

/** Both directions, with the header of four bytes. */
export const SOL_PAYLOAD_BYTES = 200;
const RETRY_MS = 400;
const TRIES = 12;
const AFTER_ANSWER_MS = 5;
/** What is typed faster than this fills its buffer: the rest is not accepted. */
const INPUT_BYTES = 128;

export class SerialOverLan {
  #session: ActiveSession | undefined;
  #pending: Buffer = Buffer.alloc(0);
  #outstanding: { sequence: number; data: Buffer; tries: number } | undefined;
  #timer: Timer | undefined;
  #sequence = 0;
  #received = 0;
  /** So many of the next packets with characters are refused. */
  nacks = 0;

  constructor(
    private readonly clock: Clock,
    private readonly port: SerialPort | undefined,
    private readonly send: (session: ActiveSession, payload: Buffer) => void,
  ) {}

  get present(): boolean {
    return this.port !== undefined;
  }

  get session(): ActiveSession | undefined {
    return this.#session;
  }

  activate(session: ActiveSession): void {
    this.#session = session;
    this.#sequence = 0;
    this.#received = 0;
    this.#pending = Buffer.alloc(0);
    this.#outstanding = undefined;
    // ipmitool gives up when characters come before the answer to its Activate Payload
    this.clock.after(AFTER_ANSWER_MS, () => {
      if (this.#session !== session) return;
      this.port?.output((data) => {
        this.#pending = Buffer.concat([this.#pending, data]);
        this.#advance();
      });
    });
  }

  /** `tell`: the console hears of it, as when somebody else takes it away. */
  deactivate(tell: boolean): void {
    const session = this.#session;
    this.#timer?.cancel();
    this.#session = undefined;
    this.port?.output(undefined);
    if (session && tell)
      this.send(session, encodeSol({ sequence: 0, ack: 0, accepted: 0, control: SolStatus.deactivated, data: Buffer.alloc(0) }));
  }

  receive(session: ActiveSession, payload: Buffer): void {
    if (session !== this.#session) return;
    const packet = decodeSol(payload);
    if (packet.ack !== 0) this.#acknowledged(packet);
    if (packet.sequence === 0) return;
    const repeated = packet.sequence === this.#received;
    const refuse = !repeated && this.nacks > 0;
    if (refuse) this.nacks -= 1;
    const accepted = refuse ? 0 : Math.min(packet.data.length, INPUT_BYTES);
    if (!refuse && !repeated) {
      this.#received = packet.sequence;
      if (packet.control & SolOperation.break) this.port?.break?.();
      if (accepted > 0) this.port?.input(packet.data.subarray(0, accepted));
    }
    const control = refuse ? SolStatus.nack : 0;
    this.send(session, encodeSol({ sequence: 0, ack: packet.sequence, accepted, control, data: Buffer.alloc(0) }));
  }

  #acknowledged({ ack, accepted, control }: SolPacket): void {
    const sent = this.#outstanding;
    if (!sent || sent.sequence !== ack) return;
    this.#timer?.cancel();
    this.#outstanding = undefined;
    const taken = control & SolOperation.nack ? 0 : Math.min(accepted, sent.data.length);
    this.#pending = Buffer.concat([sent.data.subarray(taken), this.#pending]);
    this.#advance();
  }

  #advance(): void {
    if (!this.#session || this.#outstanding || this.#pending.length === 0) return;
    const data = this.#pending.subarray(0, SOL_PAYLOAD_BYTES - 4);
    this.#pending = this.#pending.subarray(data.length);
    this.#sequence = nextSolSequence(this.#sequence);
    this.#outstanding = { sequence: this.#sequence, data, tries: 0 };
    this.#try();
  }

  #try(): void {
    const session = this.#session;
    const packet = this.#outstanding;
    if (!session || !packet) return;
    if (packet.tries >= TRIES) {
      this.deactivate(false); // nobody listens any more
      return;
    }
    packet.tries += 1;
    this.#timer = this.clock.after(RETRY_MS, () => this.#try());
    this.send(session, encodeSol({ sequence: packet.sequence, ack: 0, accepted: 0, control: 0, data: packet.data }));
  }
}
