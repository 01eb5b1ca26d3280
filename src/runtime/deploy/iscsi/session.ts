/**
 * A session in the full feature phase (RFC 7143 sections 4 and 7): commands (tasks.ts), pings, events, logout, and its end. Error recovery level 0: what breaks the connection ends the
 * session, and its user opens a new one, which takes over by name and ISID.
 */
import { CodedError } from 'cdk8s-baremetal-contract';
import type { Clock, Logger } from 'cdk8s-baremetal-runtime/core/index';
import { iscsiErrors } from './errors.ts';
import { type ExchangeKind, Exchanges } from './exchanges.ts';
import { Keepalive } from './keepalive.ts';
import type { LoginResult } from './login.ts';
import type { OperationalParameters } from './negotiation.ts';
import { NO_DATA, NO_TAG, PduError, type PduOf, type ReceivedPdu, serialAdd } from './pdu.ts';
import { parseSense } from './sense.ts';
import { SequenceNumbers } from './sequence-numbers.ts';
import { type ScsiCommand, type ScsiResult, Tasks } from './tasks.ts';
import { decodePairs, encodeText, TextGatherer } from './text.ts';
import type { PduTransport } from './transport.ts';

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

export class IscsiSession {
  readonly parameters: OperationalParameters;
  /** Aborts, with the reason, when the session is over. */
  readonly over: AbortSignal;

  private readonly controller = new AbortController();
  private phase: 'open' | 'leaving' | 'closed' = 'open';
  private readonly numbers: SequenceNumbers;
  private readonly exchanges: Exchanges;
  private readonly keepalive: Keepalive;
  private readonly tasks: Tasks;
  private nextTag = 1;
  private leaving: Promise<void> | undefined;
  private leavingBecause: CodedError | undefined;

  constructor(private readonly parts: SessionParts) {
    const { login, transport, clock, times, portal } = parts;
    this.parameters = login.parameters;
    this.over = this.controller.signal;
    this.numbers = new SequenceNumbers({ cmdSn: parts.initialCmdSn, maxCmdSn: login.maxCmdSn, expStatSn: login.expStatSn });
    this.exchanges = new Exchanges(clock, times.abortTimeoutMs);
    this.tasks = new Tasks({
      transport,
      clock,
      portal,
      parameters: this.parameters,
      numbers: this.numbers,
      timeoutMs: times.commandTimeoutMs,
      nextTag: () => this.tag(),
      abortTask: (task, failure) => this.abortTask(task, failure),
      onFail: (error) => this.fail(error),
    });
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
    return this.tasks.execute(command);
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
    await this.tasks.whenIdle(); // the end of the session settles them too
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

  private async abortTask(task: { readonly lun: number; readonly itt: number; readonly cmdSn: number }, failure: Error): Promise<number> {
    const send = (itt: number): void => this.sendTaskRequest(ABORT_TASK, task.lun, itt, task.itt, task.cmdSn);
    return (await this.exchange('task-response', send, failure)).response;
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
        this.tasks.takeResponse(pdu);
        break;
      case 'data-in':
        if (pdu.hasStatus) this.numbers.status(pdu.statSn);
        this.tasks.takeData(pdu);
        break;
      case 'r2t':
        this.tasks.takeRequest(pdu);
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
    this.tasks.dispatch(); // its window may have moved
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

  /** A ping has no data (section 11.19), and so its answer has none. */
  private pong({ lun, ttt }: PduOf<'nop-in'>): void {
    this.parts.transport.send({ kind: 'nop-out', immediate: true, lun, itt: NO_TAG, ttt, ...this.numbers.present, data: NO_DATA });
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
    const reason = this.phase === 'leaving' && this.tasks.idle ? this.closedError() : error;
    this.phase = 'closed';
    this.keepalive.stop();
    this.parts.transport.destroy(error);
    this.controller.abort(reason);
    this.tasks.failAll(error);
    this.exchanges.failAll(error);
  }
}
