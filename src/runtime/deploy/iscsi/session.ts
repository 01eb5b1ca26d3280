/**
 * A session in the full feature phase (RFC 7143 sections 4 and 7): many commands at once inside the target's command window,
 * data as the negotiated rules allow, pings, aborts, logout. Error recovery level 0: what breaks the connection ends the
 * session, and its user opens a new one, which takes over by name and ISID.
 */
import { CodedError } from 'cdk8s-baremetal-contract';
import type { Clock, Logger, Timer } from 'cdk8s-baremetal-runtime/core/index';
import { iscsiErrors } from './errors.ts';
import { type ExchangeKind, Exchanges } from './exchanges.ts';
import { Keepalive } from './keepalive.ts';
import type { LoginResult } from './login.ts';
import type { OperationalParameters } from './negotiation.ts';
import { extendedCdb, NO_DATA, NO_TAG, PduError, type PduOf, type ReceivedPdu, serialAdd } from './pdu.ts';
import { parseSense, type Sense } from './sense.ts';
import { SequenceNumbers } from './sequence-numbers.ts';
import { decodePairs, encodeText, TextGatherer } from './text.ts';
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

export interface SessionTimes {
  /** One command, from `execute` to its answer. Default 30,000. */
  readonly commandTimeoutMs: number;
  /** The answer to ABORT TASK, and to a logout, before the connection is dropped. Default 5,000. */
  readonly abortTimeoutMs: number;
  /** Silence after which the target is pinged. Default 5,000. */
  readonly nopIntervalMs: number;
  /** Silence after a ping that ends the session. Default 5,000. */
  readonly nopTimeoutMs: number;
}

export const DEFAULT_SESSION_TIMES: SessionTimes = {
  commandTimeoutMs: 30_000,
  abortTimeoutMs: 5_000,
  nopIntervalMs: 5_000,
  nopTimeoutMs: 5_000,
};

export interface SessionParts {
  readonly transport: PduTransport;
  readonly clock: Clock;
  readonly logger: Logger;
  /** For messages, e.g. "192.0.2.10:3260". */
  readonly portal: string;
  readonly login: LoginResult;
  readonly initialCmdSn: number;
  readonly times: SessionTimes;
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
}

/** Reasons of Reject (section 11.17.1). */
const REJECT_REASONS: Readonly<Record<number, string>> = {
  2: 'data digest error',
  3: 'SNACK reject',
  4: 'protocol error',
  5: 'command not supported',
  6: 'too many immediate commands',
  7: 'task in progress',
  8: 'invalid data acknowledgement',
  9: 'invalid PDU field',
  10: 'out of resources',
  12: 'waiting for logout',
};
const ABORT_TASK = 1;
const LOGICAL_UNIT_RESET = 5;
const TASK_ATTRIBUTE_SIMPLE = 1;

export class IscsiSession {
  readonly parameters: OperationalParameters;
  /** Aborts, with the reason, when the session is over. */
  readonly over: AbortSignal;

  private readonly controller = new AbortController();
  private phase: 'open' | 'leaving' | 'closed' = 'open';
  private readonly numbers: SequenceNumbers;
  private readonly exchanges: Exchanges;
  private readonly keepalive: Keepalive;
  private nextTag = 1;
  private readonly waiting = new Set<Task>();
  private readonly tasks = new Map<number, Task>();
  private onIdle: (() => void) | undefined;
  private leaving: Promise<void> | undefined;
  private leavingBecause: CodedError | undefined;

  constructor(private readonly parts: SessionParts) {
    const { login, transport, clock, times, portal } = parts;
    this.parameters = login.parameters;
    this.over = this.controller.signal;
    this.numbers = new SequenceNumbers({ cmdSn: parts.initialCmdSn, maxCmdSn: login.maxCmdSn, expStatSn: login.expStatSn });
    this.exchanges = new Exchanges(clock, times.abortTimeoutMs);
    transport.incoming.options.maxDataBytes = this.parameters.maxReceiveBytes;
    transport.incoming.options.digests = this.parameters.digests;
    transport.outgoingDigests = this.parameters.digests;
    transport.onPdu = (pdu) => this.receive(pdu);
    transport.onEnd = (error) => this.fail(this.lost(error));
    this.keepalive = new Keepalive({
      clock,
      intervalMs: times.nopIntervalMs,
      timeoutMs: times.nopTimeoutMs,
      ping: () =>
        transport.send({
          kind: 'nop-out',
          immediate: true,
          lun: 0,
          itt: this.tag(),
          ttt: NO_TAG,
          ...this.numbers.present,
          data: NO_DATA,
        }),
      onSilent: (waitedMs) => this.fail(iscsiErrors.ISCSI_SILENT({ portal, waitedMs })),
    });
  }

  /** Runs one command. Resolves with whatever status the disk gives; rejects when there is none. */
  execute(command: ScsiCommand): Promise<ScsiResult> {
    if (this.phase !== 'open') return Promise.reject(this.controller.signal.reason ?? this.closedError());
    if (command.signal?.aborted) return Promise.reject(command.signal.reason);
    return new Promise((resolve, reject) => {
      const timeoutMs = command.timeoutMs ?? this.parts.times.commandTimeoutMs;
      const { portal } = this.parts;
      const task: Task = {
        command,
        resolve,
        reject,
        timer: this.parts.clock.after(timeoutMs, () =>
          this.abort(task, iscsiErrors.ISCSI_COMMAND_TIMEOUT({ portal, command: command.name, timeoutMs })),
        ),
        onAbort: () => this.abort(task, command.signal?.reason),
        itt: NO_TAG,
        cmdSn: 0,
        aborted: undefined,
        receivedBytes: 0,
        requestedBursts: 0,
      };
      command.signal?.addEventListener('abort', task.onAbort, { once: true });
      this.waiting.add(task);
      this.dispatch();
    });
  }

  /** Sends text (SendTargets) and gathers the answer, however many PDUs it takes. */
  async sendText(pairs: Iterable<readonly [string, string]>): Promise<[string, string][]> {
    const gatherer = new TextGatherer();
    let data = encodeText(pairs);
    for (let transferTag = NO_TAG; ; ) {
      const ttt = transferTag;
      const payload = data;
      const answer = await this.exchange('text-response', (itt) => {
        this.parts.transport.send({
          kind: 'text-request',
          immediate: true,
          final: true,
          more: false,
          lun: 0,
          itt,
          ttt,
          ...this.numbers.present,
          data: payload,
        });
      });
      gatherer.add(answer.data);
      if (answer.final && !answer.more) return decodePairs(gatherer.take());
      if (answer.ttt === NO_TAG) throw new PduError('the target continues its text without a transfer tag');
      transferTag = answer.ttt;
      data = NO_DATA;
    }
  }

  /** Resets the LUN: every task on it, of every initiator, is gone. Resolves with the target's response code (0: done). */
  async resetLun(lun: number): Promise<number> {
    const answer = await this.exchange('task-response', (itt) => this.sendTaskRequest(LOGICAL_UNIT_RESET, lun, itt, NO_TAG, 0));
    return answer.response;
  }

  /** Lets running commands end, logs out and closes. Never throws: a target that does not answer is left behind. */
  logout(): Promise<void> {
    this.leaving ??= this.leave();
    return this.leaving;
  }

  private async leave(): Promise<void> {
    if (this.phase !== 'open') return;
    this.phase = 'leaving';
    if (this.tasks.size + this.waiting.size > 0)
      await new Promise<void>((resolve) => {
        this.onIdle = resolve;
        this.over.addEventListener('abort', () => resolve(), { once: true });
      });
    const { transport, clock, times } = this.parts;
    try {
      await this.exchange('logout-response', (itt) =>
        transport.send({ kind: 'logout-request', immediate: true, reason: 0, itt, cid: 0, ...this.numbers.present, data: NO_DATA }),
      );
      // the target closes first, so that no side is left in the middle of a reset
      transport.end();
      const timer = clock.after(times.abortTimeoutMs, () => this.fail(this.closedError()));
      await new Promise<void>((resolve) => {
        if (this.over.aborted) resolve();
        this.over.addEventListener('abort', () => resolve(), { once: true });
      });
      timer.cancel();
    } catch (error) {
      this.parts.logger.debug({ error: String(error) }, 'the logout was not answered');
    }
    this.fail(this.closedError());
  }

  /** Ends the session at once: everything outstanding rejects with `error`. */
  destroy(error: Error = this.closedError()): void {
    this.fail(error);
  }

  // ---- commands ----

  private dispatch(): void {
    for (const task of this.waiting) {
      if (!this.numbers.open) return; // the target's window is full
      this.waiting.delete(task);
      this.start(task);
    }
  }

  private start(task: Task): void {
    const { command } = task;
    const { immediateData, initialR2T, firstBurstBytes, maxSendBytes } = this.parameters;
    task.itt = this.tag();
    task.cmdSn = this.numbers.present.cmdSn;
    this.tasks.set(task.itt, task);
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
      ...this.numbers.present,
      cdb: command.cdb,
      ...(ahs && { ahs }),
      data: out && immediateBytes > 0 ? out.subarray(0, immediateBytes) : NO_DATA,
    });
    this.numbers.used();
    if (out && unsolicitedBytes > immediateBytes) this.sendData(task, out, NO_TAG, immediateBytes, unsolicitedBytes);
  }

  /** One sequence of Data-Out PDUs: `from` up to `to`. */
  private sendData(task: Task, out: Uint8Array, ttt: number, from: number, to: number): void {
    const { lun } = task.command;
    const { itt } = task;
    const { maxSendBytes } = this.parameters;
    const { expStatSn } = this.numbers.present;
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
    if (this.tasks.get(task.itt) === task) this.tasks.delete(task.itt);
    if ('result' in outcome) task.resolve(outcome.result);
    else task.reject(outcome.error);
    if (this.tasks.size + this.waiting.size === 0) this.onIdle?.();
  }

  /** ABORT TASK. The command is settled when the target confirms, so its data is not in use any more; else the session ends. */
  private abort(task: Task, error: unknown): void {
    if (task.aborted) return;
    task.aborted = { error };
    if (task.itt === NO_TAG) {
      this.settle(task, { error });
      return;
    }
    const { lun } = task.command;
    const failure = error instanceof Error ? error : new Error(String(error));
    this.exchange('task-response', (itt) => this.sendTaskRequest(ABORT_TASK, lun, itt, task.itt, task.cmdSn), failure).then(
      ({ response }) => {
        if (!this.tasks.has(task.itt)) return; // its answer was faster
        if (response <= 1)
          this.settle(task, { error }); // done, or no such task
        else this.fail(failure);
      },
      () => undefined, // the session has ended, and with it the task
    );
  }

  private sendTaskRequest(taskFunction: number, lun: number, itt: number, referencedTag: number, refCmdSn: number): void {
    this.parts.transport.send({
      kind: 'task-request',
      immediate: true,
      taskFunction,
      lun,
      itt,
      referencedTag,
      ...this.numbers.present,
      refCmdSn,
      data: NO_DATA,
    });
  }

  /** Sends something that has an answer of its own kind; without one in time the session ends with `lateError`. */
  private exchange<K extends ExchangeKind>(kind: K, send: (itt: number) => void, lateError?: Error): Promise<PduOf<K>> {
    if (this.phase === 'closed') return Promise.reject(this.controller.signal.reason);
    const { times, portal } = this.parts;
    return this.exchanges.begin(kind, this.tag(), send, () =>
      this.fail(lateError ?? iscsiErrors.ISCSI_SILENT({ portal, waitedMs: times.abortTimeoutMs })),
    );
  }

  // ---- what the target sends ----

  private receive(pdu: ReceivedPdu): void {
    this.keepalive.heard();
    if ('maxCmdSn' in pdu) this.numbers.window(pdu.expCmdSn, pdu.maxCmdSn);
    switch (pdu.kind) {
      case 'scsi-response':
        this.numbers.status(pdu.statSn);
        this.takeResponse(pdu);
        break;
      case 'data-in':
        this.takeData(pdu);
        break;
      case 'r2t':
        this.takeRequest(pdu);
        break;
      case 'nop-in':
        if (pdu.itt !== NO_TAG) this.numbers.status(pdu.statSn);
        else if (pdu.ttt !== NO_TAG) this.pong(pdu);
        break;
      case 'task-response':
      case 'text-response':
      case 'logout-response':
        this.numbers.status(pdu.statSn);
        this.exchanges.take(pdu);
        break;
      case 'async-message':
        this.numbers.status(pdu.statSn);
        this.takeEvent(pdu);
        break;
      case 'reject': {
        const reason = REJECT_REASONS[pdu.reason] ?? `reason ${pdu.reason}`;
        throw iscsiErrors.ISCSI_REJECTED({ portal: this.parts.portal, reason });
      }
      default:
        throw new PduError(`a target sends no ${pdu.kind === 'unknown' ? `opcode ${pdu.opcode}` : pdu.kind} here`);
    }
    this.dispatch();
  }

  private takeResponse(pdu: PduOf<'scsi-response'>): void {
    const task = this.tasks.get(pdu.itt);
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

  private takeData(pdu: PduOf<'data-in'>): void {
    if (pdu.hasStatus) this.numbers.status(pdu.statSn);
    const task = this.tasks.get(pdu.itt);
    if (!task) return;
    const into = task.command.dataIn;
    if (!into || pdu.offset + pdu.data.length > into.length) throw new PduError('it sent data that nobody asked for');
    if (pdu.offset !== task.receivedBytes) throw new PduError('it sent data out of order'); // DataPDUInOrder, DataSequenceInOrder
    into.set(pdu.data, pdu.offset);
    task.receivedBytes += pdu.data.length;
    if (pdu.hasStatus) this.settle(task, { result: { status: pdu.status, sense: undefined, movedBytes: task.receivedBytes } });
  }

  private takeRequest(pdu: PduOf<'r2t'>): void {
    const task = this.tasks.get(pdu.itt);
    if (!task) return;
    const out = task.command.dataOut;
    const end = pdu.offset + pdu.desiredBytes;
    if (!out || pdu.desiredBytes === 0 || end > out.length || pdu.desiredBytes > this.parameters.maxBurstBytes)
      throw new PduError(`it asked for ${pdu.desiredBytes} bytes at ${pdu.offset} of a command of ${out?.length ?? 0} bytes`);
    if (pdu.r2tSn !== task.requestedBursts++) throw new PduError('a request for data is missing');
    this.sendData(task, out, pdu.ttt, pdu.offset, end);
  }

  /** Events of section 11.9.1. */
  private takeEvent(pdu: PduOf<'async-message'>): void {
    const { portal, logger } = this.parts;
    switch (pdu.event) {
      case 0:
        logger.warn({ portal, sense: parseSense(pdu.data.subarray(2)) }, 'the target reports an event of the disk');
        break;
      case 1: // asks for a logout, within parameter 3 seconds
      case 4: // asks to negotiate anew; with one connection and nothing to change a logout is the allowed answer
        logger.warn({ portal, event: pdu.event }, 'the target asks to be logged out of');
        this.leavingBecause = iscsiErrors.ISCSI_LOGOUT_ASKED({ portal });
        void this.logout();
        break;
      case 2:
      case 3:
        throw iscsiErrors.ISCSI_CONNECTION_LOST({ portal, reason: 'the target says that it drops the session' });
      default:
        logger.warn({ portal, event: pdu.event, vendorCode: pdu.vendorCode }, 'the target sent an event that is not known');
    }
  }

  private pong(pdu: PduOf<'nop-in'>): void {
    const data = pdu.data.subarray(0, this.parameters.maxSendBytes);
    const { lun, ttt } = pdu;
    this.parts.transport.send({ kind: 'nop-out', immediate: true, lun, itt: NO_TAG, ttt, ...this.numbers.present, data });
  }

  // ---- tags, and the end ----

  private tag(): number {
    do this.nextTag = serialAdd(this.nextTag, 1);
    while (this.nextTag === NO_TAG || this.tasks.has(this.nextTag) || this.exchanges.has(this.nextTag));
    return this.nextTag;
  }

  private lost(error: Error | undefined): Error {
    if (error instanceof CodedError) return error;
    const { portal } = this.parts;
    if (error instanceof PduError) return iscsiErrors.ISCSI_PROTOCOL({ portal, reason: error.message }, { cause: error });
    const reason = error?.message ?? 'the target closed it';
    return iscsiErrors.ISCSI_CONNECTION_LOST({ portal, reason }, { cause: error });
  }

  private closedError(): CodedError {
    return this.leavingBecause ?? iscsiErrors.ISCSI_CLOSED({ portal: this.parts.portal });
  }

  private fail(error: Error): void {
    if (this.phase === 'closed') return;
    const reason = this.phase === 'leaving' && this.tasks.size === 0 ? this.closedError() : error;
    this.phase = 'closed';
    this.keepalive.stop();
    this.parts.transport.destroy(error);
    this.controller.abort(reason);
    for (const task of [...this.tasks.values(), ...this.waiting]) this.settle(task, { error: task.aborted?.error ?? error });
    this.exchanges.failAll(error);
  }
}
