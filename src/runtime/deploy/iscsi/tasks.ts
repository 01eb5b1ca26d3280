/**
 * The SCSI commands of a session, from `execute` to their answers: as many at once as the target's command window allows, data as the negotiated
 * rules do (RFC 7143 sections 4.2.5 and 11.3 to 11.8), aborted when they are late or not wanted any more.
 */
import type { Clock, Timer } from 'cdk8s-baremetal-runtime/core/index';
import { iscsiErrors } from './errors.ts';
import type { OperationalParameters } from './negotiation.ts';
import { extendedCdb, NO_DATA, NO_TAG, PduError, type PduOf } from './pdu.ts';
import { parseSense, type Sense } from './sense.ts';
import type { SequenceNumbers } from './sequence-numbers.ts';
import type { PduTransport } from './transport.ts';

export interface ScsiCommand {
  /** For messages, e.g. "WRITE(16)". */
  readonly name: string;
  readonly lun: number;
  readonly cdb: Uint8Array;
  /** Data to the disk. Not copied: it must not change until the command is settled. */
  readonly dataOut?: Uint8Array;
  /** Where data from the disk goes. */
  readonly dataIn?: Uint8Array;
  /** Until the command is aborted. Default: the session's. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface ScsiResult {
  /** SAM-5 status: 0 good, 2 check condition, 8 busy, 18h reservation conflict, 28h task set full. */
  readonly status: number;
  readonly sense: Sense | undefined;
  /** Bytes that the target moved, by its residual count. */
  readonly movedBytes: number;
}

export interface TasksParts {
  readonly transport: PduTransport;
  readonly clock: Clock;
  /** For messages. */
  readonly portal: string;
  readonly parameters: OperationalParameters;
  readonly numbers: SequenceNumbers;
  /** Of commands that name none. */
  readonly timeoutMs: number;
  readonly nextTag: () => number;
  /** Asks the target to abort a command. Resolves with its response code; the session ends with `failure` when there is none. */
  readonly abortTask: (task: { readonly lun: number; readonly itt: number; readonly cmdSn: number }, failure: Error) => Promise<number>;
  /** The session cannot go on. */
  readonly onFail: (error: Error) => void;
}

interface Task {
  readonly command: ScsiCommand;
  readonly resolve: (result: ScsiResult) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: Timer;
  readonly onAbort: () => void;
  itt: number;
  cmdSn: number;
  /** Why it is being aborted. */
  aborted: { error: unknown } | undefined;
  receivedBytes: number;
  requestedBursts: number;
  /** Where the last burst that was asked for ends. */
  requestedBytes: number;
}

const TASK_ATTRIBUTE_SIMPLE = 1;

export class Tasks {
  /** For room in the target's window. */
  private readonly waiting = new Set<Task>();
  private readonly running = new Map<number, Task>();
  private onIdle: (() => void) | undefined;

  constructor(private readonly parts: TasksParts) {}

  has(itt: number): boolean {
    return this.running.has(itt);
  }

  get idle(): boolean {
    return this.running.size + this.waiting.size === 0;
  }

  /** Resolves when the last command is settled. */
  async whenIdle(): Promise<void> {
    if (this.idle) return;
    await new Promise<void>((resolve) => {
      this.onIdle = resolve;
    });
  }

  /** Runs one command. Resolves with whatever status the disk gives; rejects when there is none. */
  execute(command: ScsiCommand): Promise<ScsiResult> {
    if (command.signal?.aborted) return Promise.reject(command.signal.reason);
    return new Promise((resolve, reject) => {
      const { clock, portal } = this.parts;
      const timeoutMs = command.timeoutMs ?? this.parts.timeoutMs;
      const task: Task = {
        command,
        resolve,
        reject,
        timer: clock.after(timeoutMs, () =>
          this.abort(task, iscsiErrors.ISCSI_COMMAND_TIMEOUT({ portal, command: command.name, timeoutMs })),
        ),
        onAbort: () => this.abort(task, command.signal?.reason),
        itt: NO_TAG,
        cmdSn: 0,
        aborted: undefined,
        receivedBytes: 0,
        requestedBursts: 0,
        requestedBytes: 0,
      };
      command.signal?.addEventListener('abort', task.onAbort, { once: true });
      this.waiting.add(task);
      this.dispatch();
    });
  }

  /** Starts what the window has room for. To be called when it may have moved. */
  dispatch(): void {
    for (const task of this.waiting) {
      if (!this.parts.numbers.open) return; // the target's window is full
      this.waiting.delete(task);
      this.start(task);
    }
  }

  private start(task: Task): void {
    const { command } = task;
    const { immediateData, initialR2T, firstBurstBytes, maxSendBytes } = this.parts.parameters;
    task.itt = this.parts.nextTag();
    task.cmdSn = this.parts.numbers.present.cmdSn;
    this.running.set(task.itt, task);
    const out = command.dataOut;
    const outBytes = out?.length ?? 0;
    const immediateBytes = immediateData ? Math.min(outBytes, firstBurstBytes, maxSendBytes) : 0;
    const unsolicitedBytes = initialR2T ? immediateBytes : Math.min(outBytes, firstBurstBytes);
    const ahs = extendedCdb(command.cdb);
    this.parts.transport.send({
      kind: 'scsi-command',
      immediate: false,
      final: unsolicitedBytes === immediateBytes,
      read: command.dataIn !== undefined,
      write: out !== undefined,
      attribute: TASK_ATTRIBUTE_SIMPLE,
      lun: command.lun,
      itt: task.itt,
      expectedBytes: out?.length ?? command.dataIn?.length ?? 0,
      ...this.parts.numbers.present,
      cdb: command.cdb,
      ...(ahs && { ahs }),
      data: out && immediateBytes > 0 ? out.subarray(0, immediateBytes) : NO_DATA,
    });
    this.parts.numbers.used();
    if (out && unsolicitedBytes > immediateBytes) this.sendData(task, out, NO_TAG, immediateBytes, unsolicitedBytes);
  }

  /** One sequence of Data-Out PDUs: `from` up to `to`. */
  private sendData(task: Task, out: Uint8Array, ttt: number, from: number, to: number): void {
    const { lun } = task.command;
    const { itt } = task;
    const { maxSendBytes } = this.parts.parameters;
    const { expStatSn } = this.parts.numbers.present;
    let dataSn = 0;
    for (let offset = from; offset < to; offset += maxSendBytes) {
      const end = Math.min(to, offset + maxSendBytes);
      const data = out.subarray(offset, end);
      this.parts.transport.send({
        kind: 'data-out',
        final: end === to,
        lun,
        itt,
        ttt,
        expStatSn,
        dataSn: dataSn++,
        offset,
        data,
      });
    }
  }

  private settle(task: Task, outcome: { result: ScsiResult } | { error: unknown }): void {
    task.timer.cancel();
    task.command.signal?.removeEventListener('abort', task.onAbort);
    this.waiting.delete(task);
    if (this.running.get(task.itt) === task) this.running.delete(task.itt);
    if ('result' in outcome) task.resolve(outcome.result);
    else task.reject(outcome.error);
    if (this.idle) this.onIdle?.();
  }

  /** ABORT TASK. The command is settled when the target confirms, so its data is not in use any more; else the session ends. */
  private abort(task: Task, error: unknown): void {
    if (task.aborted) return;
    task.aborted = { error };
    if (task.itt === NO_TAG) {
      this.settle(task, { error });
      return;
    }
    const { itt, cmdSn, command } = task;
    const failure = error instanceof Error ? error : new Error(String(error));
    this.parts.abortTask({ lun: command.lun, itt, cmdSn }, failure).then(
      (response) => {
        if (!this.running.has(itt)) return; // its answer was faster
        if (response <= 1)
          this.settle(task, { error }); // done, or no such task
        else this.parts.onFail(failure);
      },
      () => undefined, // the session has ended, and with it the task
    );
  }

  takeResponse(pdu: PduOf<'scsi-response'>): void {
    const task = this.running.get(pdu.itt);
    if (!task) return; // an answer that crossed its abort
    const { command } = task;
    if (pdu.response !== 0) {
      const reason = `it could not execute ${command.name} (response ${pdu.response})`;
      this.settle(task, { error: iscsiErrors.ISCSI_REJECTED({ portal: this.parts.portal, reason }) });
      return;
    }
    const expected = command.dataOut?.length ?? command.dataIn?.length ?? 0;
    const movedBytes = command.dataOut ? expected - (pdu.underflow ? pdu.residual : 0) : task.receivedBytes;
    const { data } = pdu;
    const senseBytes = data.length >= 2 ? ((data[0] ?? 0) << 8) | (data[1] ?? 0) : 0;
    this.settle(task, { result: { status: pdu.status, sense: parseSense(data.subarray(2, 2 + senseBytes)), movedBytes } });
  }

  takeData(pdu: PduOf<'data-in'>): void {
    const task = this.running.get(pdu.itt);
    if (!task) return;
    const into = task.command.dataIn;
    if (!into || pdu.offset + pdu.data.length > into.length) throw new PduError('it sent data that nobody asked for');
    if (pdu.offset !== task.receivedBytes) throw new PduError('it sent data out of order'); // DataPDUInOrder, DataSequenceInOrder
    into.set(pdu.data, pdu.offset);
    task.receivedBytes += pdu.data.length;
    if (pdu.hasStatus) this.settle(task, { result: { status: pdu.status, sense: undefined, movedBytes: task.receivedBytes } });
  }

  takeRequest(pdu: PduOf<'r2t'>): void {
    const task = this.running.get(pdu.itt);
    if (!task) return;
    const out = task.command.dataOut;
    const end = pdu.offset + pdu.desiredBytes;
    if (!out || pdu.desiredBytes === 0 || end > out.length || pdu.desiredBytes > this.parts.parameters.maxBurstBytes)
      throw new PduError(`it asked for ${pdu.desiredBytes} bytes at ${pdu.offset} of a command of ${out?.length ?? 0} bytes`);
    if (pdu.r2tSn !== task.requestedBursts++) throw new PduError('a request for data is missing');
    // DataSequenceInOrder; else a few requests for the same data would fill our memory
    if (pdu.offset < task.requestedBytes) throw new PduError('it asked again for what it has been sent');
    task.requestedBytes = end;
    this.sendData(task, out, pdu.ttt, pdu.offset, end);
  }

  failAll(error: Error): void {
    for (const task of [...this.running.values(), ...this.waiting]) this.settle(task, { error: task.aborted?.error ?? error });
  }
}
