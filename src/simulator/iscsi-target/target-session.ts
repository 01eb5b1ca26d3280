/**
 * One session of the simulated target in the full feature phase (RFC 7143 section 4). Strict: an initiator that sends data
 * which the negotiated rules do not allow loses its connection, so that its faults show.
 */
import { type Clock, type Logger, sleep } from 'cdk8s-baremetal-runtime/core/index';
import type { OperationalParameters } from 'cdk8s-baremetal-runtime/deploy/iscsi/negotiation';
import {
  NO_DATA,
  NO_TAG,
  type Pdu,
  PduError,
  type PduOf,
  type ReceivedPdu,
  serialAdd,
  wholeCdb,
} from 'cdk8s-baremetal-runtime/deploy/iscsi/pdu';
import { OP } from 'cdk8s-baremetal-runtime/deploy/iscsi/scsi';
import { SENSE_KEY } from 'cdk8s-baremetal-runtime/deploy/iscsi/sense';
import { decodeKeys, encodeText } from 'cdk8s-baremetal-runtime/deploy/iscsi/text';
import type { PduTransport } from 'cdk8s-baremetal-runtime/deploy/iscsi/transport';
import type { CommandFault, TargetFaults } from './faults.ts';
import { answerForNoUnit, type LogicalUnit } from './logical-unit.ts';
import { checkCondition, type ScsiAnswer } from './scsi-answer.ts';
import type { LoggedIn } from './target-login.ts';

export interface TargetSessionParts {
  readonly transport: PduTransport;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly login: LoggedIn;
  readonly tsih: number;
  readonly units: ReadonlyMap<number, LogicalUnit>;
  readonly faults: TargetFaults;
  readonly windowCommands: number;
  /** First command on each LUN gets a unit attention, as after power on. */
  readonly unitAttention: boolean;
  /** The initiator has logged out. */
  readonly onLogout: (session: TargetSession) => void;
  /** Answers to SendTargets. */
  readonly directory: () => Iterable<readonly [string, string]>;
}

interface Task {
  readonly command: PduOf<'scsi-command'>;
  readonly cdb: Buffer;
  readonly data: Buffer;
  /** Bytes received in order so far; an initiator at DataPDUInOrder=Yes leaves no gaps. */
  received: number;
  /** Requests for data under way, oldest first. */
  readonly bursts: { ttt: number; at: number; end: number; dataSn: number }[];
  /** Up to where data was asked for, or comes unasked. */
  asked: number;
  r2tSn: number;
  unsolicited: { dataSn: number; open: boolean };
  executing: Promise<void> | undefined;
  readonly cancel: AbortController;
}

/** Data of one command; a real target has such a limit too. */
const LARGEST_COMMAND_BYTES = 64 * 1024 * 1024;
const REJECT = { protocolError: 4, notSupported: 5 } as const;
const TASK_FUNCTION = { abortTask: 1, abortTaskSet: 2, clearTaskSet: 4, lunReset: 5, warmReset: 6 } as const;
/** These are answered without telling a pending unit attention (SPC-5 section 5.17). */
const NO_ATTENTION = new Set<number>([OP.inquiry, OP.reportLuns]);

export class TargetSession {
  readonly initiatorName: string;
  readonly isid: string;
  readonly tsih: number;
  readonly parameters: OperationalParameters;
  /** False once the session is dropped: nothing of it reaches a device any more. */
  alive = true;

  private readonly tasks = new Map<number, Task>();
  private readonly attention: Set<number>;
  private expCmdSn: number;
  private statSn: number;
  private nextTag = 0;
  private commands = 0;
  private dropped: Promise<void> | undefined;

  constructor(private readonly parts: TargetSessionParts) {
    const { login, transport } = parts;
    this.initiatorName = login.initiatorName;
    this.isid = login.isid;
    this.tsih = parts.tsih;
    this.parameters = login.parameters;
    this.expCmdSn = login.expCmdSn;
    this.statSn = login.statSn;
    this.attention = new Set(parts.unitAttention ? parts.units.keys() : []);
    transport.incoming.options.maxDataBytes = this.parameters.maxReceiveBytes;
    transport.incoming.options.digests = this.parameters.digests;
  }

  /** Called when the last login response, which has no digests yet, is on its way. */
  begin(): void {
    this.parts.transport.outgoingDigests = this.parameters.digests;
  }

  /** Drops the session; resolves when no task of it can touch a device any more. */
  drop(): Promise<void> {
    this.alive = false;
    // once: destroying the connection comes back here, and a second round would find no tasks to wait for
    if (!this.dropped) {
      this.dropped = this.abortAll();
      this.parts.transport.destroy();
    }
    return this.dropped;
  }

  /** Async message (section 11.9): 1 asks for a logout within `seconds`. */
  sendEvent(event: number, seconds = 0): void {
    this.send({
      kind: 'async-message',
      lun: 0,
      itt: NO_TAG,
      ...this.answer(),
      event,
      vendorCode: 0,
      parameter1: 0,
      parameter2: 0,
      parameter3: seconds,
      data: NO_DATA,
    });
  }

  /** A ping that asks for an answer. */
  ping(data: Uint8Array): void {
    const { expCmdSn, maxCmdSn } = this.window();
    const statSn = this.statSn; // not advanced by a ping
    this.send({ kind: 'nop-in', lun: 0, itt: NO_TAG, ttt: this.tag(), statSn, expCmdSn, maxCmdSn, data });
  }

  receive(pdu: ReceivedPdu): void {
    if ('cmdSn' in pdu) this.count(pdu.cmdSn, pdu.immediate);
    if (pdu.kind === 'scsi-command' && this.tasks.size >= this.parts.windowCommands) throw new PduError('the command window is overrun');
    switch (pdu.kind) {
      case 'scsi-command':
        this.takeCommand(pdu);
        break;
      case 'data-out':
        this.takeData(pdu);
        break;
      case 'nop-out':
        if (pdu.itt !== NO_TAG) this.send({ kind: 'nop-in', lun: pdu.lun, itt: pdu.itt, ttt: NO_TAG, ...this.answer(), data: pdu.data });
        break;
      case 'text-request': {
        const asks = decodeKeys(pdu.data).has('SendTargets');
        const data = asks ? encodeText(this.parts.directory()) : NO_DATA;
        this.send({ kind: 'text-response', final: true, more: false, lun: 0, itt: pdu.itt, ttt: NO_TAG, ...this.answer(), data });
        break;
      }
      case 'task-request':
        void this.manage(pdu);
        break;
      case 'logout-request':
        void this.leave(pdu);
        break;
      default:
        this.reject(pdu.kind === 'unknown' ? REJECT.notSupported : REJECT.protocolError);
    }
  }

  // ---- commands ----

  private takeCommand(command: PduOf<'scsi-command'>): void {
    if (this.tasks.has(command.itt)) throw new PduError('a task tag is used twice');
    const expected = command.write ? command.expectedBytes : 0;
    if (expected > LARGEST_COMMAND_BYTES) throw new PduError(`a command of ${expected} bytes`);
    const { immediateData, initialR2T, firstBurstBytes } = this.parameters;
    if (command.data.length > 0 && (!immediateData || command.data.length > Math.min(firstBurstBytes, expected)))
      throw new PduError(`immediate data of ${command.data.length} bytes`);
    if (!command.final && initialR2T) throw new PduError('unsolicited data is announced though InitialR2T=Yes');
    const whole = wholeCdb(command);
    const task: Task = {
      command,
      cdb: Buffer.from(whole.buffer, whole.byteOffset, whole.length),
      data: Buffer.alloc(expected),
      received: command.data.length,
      bursts: [],
      asked: command.final ? command.data.length : Math.min(firstBurstBytes, expected),
      r2tSn: 0,
      unsolicited: { dataSn: 0, open: !command.final },
      executing: undefined,
      cancel: new AbortController(),
    };
    task.data.set(command.data, 0);
    this.tasks.set(command.itt, task);
    this.proceed(task);
  }

  private takeData(pdu: PduOf<'data-out'>): void {
    const task = this.tasks.get(pdu.itt);
    if (!task || task.executing) return; // of an aborted task
    const end = pdu.offset + pdu.data.length;
    if (pdu.offset !== task.received) throw new PduError(`data for ${pdu.offset} where ${task.received} was due`);
    if (pdu.ttt === NO_TAG) {
      const { unsolicited } = task;
      if (!unsolicited.open || end > task.asked) throw new PduError('more unsolicited data than was agreed');
      if (pdu.dataSn !== unsolicited.dataSn++) throw new PduError('an unsolicited data PDU is missing');
      if (pdu.final && end !== task.asked) throw new PduError('the unsolicited data ends early');
      unsolicited.open = !pdu.final;
    } else {
      const burst = task.bursts[0];
      if (!burst || burst.ttt !== pdu.ttt || end > burst.end) throw new PduError('data that was not asked for');
      if (pdu.dataSn !== burst.dataSn++) throw new PduError('a data PDU is missing');
      if (pdu.final !== (end === burst.end)) throw new PduError('a burst does not end where it should');
      if (pdu.final) task.bursts.shift();
    }
    task.data.set(pdu.data, pdu.offset);
    task.received = end;
    this.proceed(task);
  }

  /** Asks for the data still missing, as many bursts at once as agreed; executes when all is there. */
  private proceed(task: Task): void {
    const { maxBurstBytes, maxOutstandingR2T } = this.parameters;
    if (task.unsolicited.open) return;
    while (task.asked < task.data.length && task.bursts.length < maxOutstandingR2T) {
      const offset = task.asked;
      const desiredBytes = Math.min(maxBurstBytes, task.data.length - offset);
      const ttt = this.tag();
      task.bursts.push({ ttt, at: offset, end: offset + desiredBytes, dataSn: 0 });
      task.asked += desiredBytes;
      const { lun, itt } = task.command;
      const statSn = this.statSn; // not advanced by R2T
      this.send({ kind: 'r2t', lun, itt, ttt, statSn, ...this.window(), r2tSn: task.r2tSn++, offset, desiredBytes, data: NO_DATA });
    }
    if (task.received < task.data.length) return;
    task.executing = this.execute(task).catch((error) => {
      this.parts.logger.debug({ error: String(error) }, 'a task ended without an answer');
    });
  }

  private async execute(task: Task): Promise<void> {
    const { command, cdb } = task;
    const { clock, faults, logger, units } = this.parts;
    const opcode = cdb.readUInt8(0);
    const { initiatorName, tsih } = this;
    const observed = { lun: command.lun, opcode, cdb, initiatorName, tsih, index: this.commands++ };
    const fault: CommandFault = faults.onCommand?.(observed) ?? {};
    if (fault.hang) return; // stays in the table until it is aborted
    if (fault.delayMs !== undefined) await sleep(clock, fault.delayMs, task.cancel.signal);
    const mayRun = (): boolean => this.alive && !task.cancel.signal.aborted;
    if (!mayRun()) return;
    const unit = units.get(command.lun);
    let answer: ScsiAnswer;
    if (fault.status !== undefined) answer = { status: fault.status };
    else if (fault.sense) answer = checkCondition(...fault.sense);
    else if (opcode === OP.reportLuns) answer = { status: 0, data: this.reportLuns(cdb) };
    else if (!unit) answer = answerForNoUnit(cdb);
    else if (!NO_ATTENTION.has(opcode) && this.attention.delete(command.lun)) answer = checkCondition(SENSE_KEY.unitAttention, 0x29);
    else {
      const short = fault.shortWriteBytes;
      const command = short === undefined ? cdb : shortened(cdb, short);
      answer = await unit.execute(command, task.data, mayRun, `${this.initiatorName},${this.isid}`).catch((error) => {
        logger.warn({ error: String(error) }, 'the device behind the LUN failed');
        return checkCondition(SENSE_KEY.hardwareError, 0x44);
      });
      if (short !== undefined) answer = checkCondition(SENSE_KEY.mediumError, 0x0c);
    }
    if (this.tasks.get(command.itt) === task) this.tasks.delete(command.itt);
    if (mayRun()) this.respond(task, answer);
  }

  private respond(task: Task, { status, sense, data = NO_DATA }: ScsiAnswer): void {
    const { command } = task;
    const { lun, itt } = command;
    const expected = command.read ? Math.min(command.expectedBytes, data.length) : 0;
    const { maxSendBytes, maxBurstBytes } = this.parameters;
    const wanted = command.expectedBytes;
    const moved = command.write ? (status === 0 ? wanted : task.received) : data.length;
    const residual = { overflow: moved > wanted, underflow: moved < wanted, residual: Math.abs(wanted - moved) };
    let dataSn = 0;
    for (let offset = 0; offset < expected; ) {
      const burstEnd = Math.min(expected, offset - (offset % maxBurstBytes) + maxBurstBytes);
      const end = Math.min(burstEnd, offset + maxSendBytes);
      const last = end === expected;
      const hasStatus = last && status === 0;
      const numbers = hasStatus ? this.answer() : { statSn: 0, ...this.window() };
      const told = hasStatus ? residual : { overflow: false, underflow: false, residual: 0 };
      const piece = data.subarray(offset, end);
      const final = last || end === burstEnd;
      const common = { lun, itt, ttt: NO_TAG, acknowledge: false, status: 0, dataSn: dataSn++, offset, data: piece };
      this.send({ kind: 'data-in', final, hasStatus, ...common, ...numbers, ...told });
      if (hasStatus) return;
      offset = end;
    }
    const senseData = sense ? Buffer.concat([Buffer.from([sense.length >>> 8, sense.length & 0xff]), sense]) : NO_DATA;
    const told = { ...residual, response: 0, status, itt, expDataSn: dataSn, data: senseData };
    this.send({ kind: 'scsi-response', ...told, ...this.answer() });
  }

  private reportLuns(cdb: Buffer): Uint8Array {
    const luns = [...this.parts.units.keys()].sort((a, b) => a - b);
    const data = Buffer.alloc(8 + 8 * luns.length);
    data.writeUInt32BE(8 * luns.length, 0);
    for (const [index, lun] of luns.entries()) data.writeUInt16BE(lun < 256 ? lun : 0x4000 | lun, 8 + 8 * index);
    return data.subarray(0, cdb.readUInt32BE(6));
  }

  // ---- task management, logout ----

  private async manage(pdu: PduOf<'task-request'>): Promise<void> {
    const response = await this.perform(pdu);
    this.send({ kind: 'task-response', response, itt: pdu.itt, ...this.answer(), data: NO_DATA });
  }

  /** Responses of section 11.6.1: 0 done, 1 no such task, 2 no such LUN, 5 not supported. */
  private async perform({ taskFunction, lun, referencedTag }: PduOf<'task-request'>): Promise<number> {
    switch (taskFunction) {
      case TASK_FUNCTION.abortTask: {
        const task = this.tasks.get(referencedTag);
        if (!task) return 1;
        await this.abort(task);
        return 0;
      }
      case TASK_FUNCTION.abortTaskSet:
      case TASK_FUNCTION.clearTaskSet:
      case TASK_FUNCTION.lunReset:
        if (!this.parts.units.has(lun)) return 2;
        await this.abortAll((task) => task.command.lun === lun);
        return 0;
      case TASK_FUNCTION.warmReset:
        await this.abortAll();
        return 0;
      default:
        return 5;
    }
  }

  private async abort(task: Task): Promise<void> {
    this.tasks.delete(task.command.itt);
    task.cancel.abort(new Error('the task was aborted'));
    await task.executing; // what has begun to write must have ended when the abort is confirmed
  }

  private async abortAll(which: (task: Task) => boolean = () => true): Promise<void> {
    await Promise.all([...this.tasks.values()].filter(which).map((task) => this.abort(task)));
  }

  private async leave(pdu: PduOf<'logout-request'>): Promise<void> {
    await this.abortAll();
    this.alive = false;
    this.parts.onLogout(this);
    this.send({ kind: 'logout-response', response: 0, itt: pdu.itt, ...this.answer(), time2Wait: 0, time2Retain: 0, data: NO_DATA });
    this.parts.transport.end();
  }

  private reject(reason: number): void {
    this.send({ kind: 'reject', reason, itt: NO_TAG, ...this.answer(), dataSn: 0, data: NO_DATA });
  }

  // ---- numbers ----

  private count(cmdSn: number, immediate: boolean): void {
    if (cmdSn !== this.expCmdSn) throw new PduError(`command ${cmdSn} where ${this.expCmdSn} was due`);
    if (!immediate) this.expCmdSn = serialAdd(this.expCmdSn, 1);
  }

  /** MaxCmdSN never goes back: a command that comes moves both numbers, one that ends opens the window by one. */
  private window(): { expCmdSn: number; maxCmdSn: number } {
    return { expCmdSn: this.expCmdSn, maxCmdSn: serialAdd(this.expCmdSn, this.parts.windowCommands - this.tasks.size - 1) };
  }

  private answer(): { statSn: number; expCmdSn: number; maxCmdSn: number } {
    const statSn = this.statSn;
    this.statSn = serialAdd(this.statSn, 1);
    return { statSn, ...this.window() };
  }

  private tag(): number {
    this.nextTag = serialAdd(this.nextTag, 1);
    if (this.nextTag === NO_TAG) this.nextTag = 0;
    return this.nextTag;
  }

  private send(pdu: Pdu): void {
    this.parts.transport.send(pdu);
  }
}

/** The same WRITE(10) or WRITE(16), of fewer bytes: rounded down to blocks of 512. */
function shortened(cdb: Buffer, bytes: number): Buffer {
  const copy = Buffer.from(cdb);
  const blocks = Math.floor(bytes / 512);
  if (cdb.readUInt8(0) === OP.write10) copy.writeUInt16BE(blocks, 7);
  else copy.writeUInt32BE(blocks, 10);
  return copy;
}
