/** What a simulated BMC answers to IPMI commands; the bytes are those of the tables named in the runtime's commands.ts. */
import {
  BootParameter,
  ChassisAction,
  Command,
  CompletionCode,
  type IpmiRequest,
  NetFn,
  PrivilegeLevel,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { type Answer, type CommandContext, type Handler, key, ok, refuse } from './command-handler.ts';
import { storageHandlers } from './storage-commands.ts';
import { userHandlers } from './user-command-handlers.ts';

const LAN_CHANNEL = 1;
const PARAMETER_NOT_SUPPORTED = 0x80;
const ANOTHER_PARTY_SETS = 0x81;

const handlers = new Map<number, Handler>([
  ...storageHandlers,
  ...userHandlers,
  // Cold Reset: answered, then done
  [
    key(NetFn.app, Command.coldReset),
    {
      privilege: PrivilegeLevel.administrator,
      answer(_, context) {
        context.restart();
        return ok();
      },
    },
  ],
  [
    key(NetFn.chassis, Command.getRestartCause),
    { privilege: PrivilegeLevel.user, answer: (_, { power }) => ok(power.restartCause, LAN_CHANNEL) },
  ],
  [
    key(NetFn.app, Command.getDeviceId),
    // device 32; firmware 1.07, IPMI 2.0; chassis, SEL, SDR repository and sensors
    {
      privilege: PrivilegeLevel.user,
      answer: (_, { maker: { manufacturer: by, product } }) =>
        ok(0x20, 0x01, 0x01, 0x07, 0x02, 0x87, by & 0xff, (by >> 8) & 0xff, (by >> 16) & 0x0f, product & 0xff, product >> 8),
    },
  ],
  [key(NetFn.app, 0x37), { privilege: 'none', answer: (_, { guid }) => ({ code: CompletionCode.ok, data: guid }) }], // Get System GUID
  [
    key(NetFn.app, Command.getChannelAuthCapabilities),
    {
      privilege: 'none',
      minBytes: 2,
      answer(data) {
        const wantsV2 = (data.readUInt8(0) & 0x80) !== 0;
        // No 1.5 authentication type is offered: 2.0 log-ins with named users, or nothing.
        return wantsV2 ? ok(LAN_CHANNEL, 0x80, 0x04, 0x02, 0, 0, 0, 0) : ok(LAN_CHANNEL, 0x00, 0x04, 0x00, 0, 0, 0, 0);
      },
    },
  ],
  [
    key(NetFn.app, Command.getChannelCipherSuites),
    {
      privilege: 'none',
      minBytes: 3,
      answer(data, { suites }) {
        // Table 22-18: C0h, suite ID, then the algorithms with their kind in bits 7:6
        const list = suites.flatMap((s) => [0xc0, s.id, s.authentication, 0x40 | s.integrity, 0x80 | s.confidentiality]);
        const start = (data.readUInt8(2) & 0x3f) * 16;
        return ok(LAN_CHANNEL, ...list.slice(start, start + 16));
      },
    },
  ],
  [
    key(NetFn.app, Command.setSessionPrivilege),
    {
      privilege: PrivilegeLevel.callback,
      minBytes: 1,
      answer(data, { session }) {
        const level = data.readUInt8(0) & 0x0f;
        if (!session) return refuse(CompletionCode.invalidCommand);
        if (level === 1 || level > PrivilegeLevel.administrator) return refuse(CompletionCode.invalidDataField);
        if (level > session.maxPrivilege) return refuse(0x81);
        if (level !== 0) session.privilege = level; // 0: only tell
        return ok(session.privilege);
      },
    },
  ],
  [
    key(NetFn.app, Command.closeSession),
    {
      privilege: PrivilegeLevel.callback,
      minBytes: 4,
      answer: (data, { session }) => (session?.end(data.readUInt32LE(0)) ? ok() : refuse(0x87)),
    },
  ],
  [key(NetFn.chassis, 0x00), { privilege: PrivilegeLevel.user, answer: () => ok(0x00, 0x20, 0x20, 0x20, 0x20) }], // Get Chassis Capabilities
  [
    key(NetFn.chassis, Command.getChassisStatus),
    { privilege: PrivilegeLevel.user, answer: (_, { power }) => ok(power.powered ? 0x01 : 0x00, 0x00, 0x00) },
  ],
  [key(NetFn.chassis, Command.chassisControl), { privilege: PrivilegeLevel.operator, minBytes: 1, answer: control }],
  [key(NetFn.chassis, Command.setBootOptions), { privilege: PrivilegeLevel.operator, minBytes: 1, answer: setBoot }],
  [key(NetFn.chassis, Command.getBootOptions), { privilege: PrivilegeLevel.operator, minBytes: 3, answer: getBoot }],
]);

export function answerCommand(request: IpmiRequest, context: CommandContext): Answer {
  const handler = handlers.get(key(request.netFn, request.command));
  if (!handler) return refuse(CompletionCode.invalidCommand);
  if (handler.privilege !== 'none') {
    if (!context.session) return refuse(CompletionCode.insufficientPrivilege);
    if (context.session.privilege < handler.privilege) return refuse(CompletionCode.insufficientPrivilege);
  }
  if (request.data.length < (handler.minBytes ?? 0)) return refuse(CompletionCode.dataLengthInvalid);
  return handler.answer(Buffer.from(request.data), context);
}

function control(data: Buffer, { power, faults }: CommandContext): Answer {
  if (faults.chassisControlCode !== undefined) return refuse(faults.chassisControlCode);
  power.stuck = faults.stuckPower;
  switch (data.readUInt8(0) & 0x0f) {
    case ChassisAction.off:
      power.off();
      return ok();
    case ChassisAction.on:
      power.on();
      return ok();
    case ChassisAction.cycle:
      if (!power.powered) return refuse(CompletionCode.notInPresentState); // optional when off, section 28.3
      power.cycle();
      return ok();
    case ChassisAction.reset:
      if (!power.powered) return refuse(CompletionCode.notInPresentState);
      power.reset();
      return ok();
    case ChassisAction.diagnosticInterrupt:
      if (!power.powered) return refuse(CompletionCode.notInPresentState);
      power.diagnosticInterrupt();
      return ok();
    case ChassisAction.softOff:
      power.softOff();
      return ok();
    default:
      return refuse(CompletionCode.invalidDataField);
  }
}

function setBoot(data: Buffer, { boot }: CommandContext): Answer {
  const parameter = data.readUInt8(0) & 0x7f;
  const value = data.subarray(1);
  const first = value[0];
  if (first === undefined) return ok(); // only the "parameter invalid" bit, Table 28-12
  switch (parameter) {
    case BootParameter.setInProgress:
      if ((first & 3) === 1 && boot.inProgress === 1) return refuse(ANOTHER_PARTY_SETS);
      boot.inProgress = first & 3;
      return ok();
    case BootParameter.validBitClearing:
      boot.keep = first & 0x1f;
      return ok();
    case BootParameter.infoAcknowledge:
      if (value.length < 2) return refuse(CompletionCode.dataLengthInvalid);
      boot.acknowledge = (boot.acknowledge & ~first) | (value.readUInt8(1) & first);
      return ok();
    case BootParameter.bootFlags:
      if (value.length < 5) return refuse(CompletionCode.dataLengthInvalid);
      boot.raw = value;
      return ok();
    default:
      return refuse(PARAMETER_NOT_SUPPORTED);
  }
}

function getBoot(data: Buffer, { boot }: CommandContext): Answer {
  const parameter = data.readUInt8(0) & 0x7f;
  const version = 0x01;
  switch (parameter) {
    case BootParameter.setInProgress:
      return ok(version, parameter, boot.inProgress);
    case BootParameter.validBitClearing:
      return ok(version, parameter, boot.keep);
    case BootParameter.infoAcknowledge:
      return ok(version, parameter, 0x00, boot.acknowledge);
    case BootParameter.bootFlags:
      return ok(version, parameter, ...boot.raw);
    default:
      return refuse(PARAMETER_NOT_SUPPORTED);
  }
}
