/** Users, LAN parameters and payloads of a simulated BMC. */
import { Command, CompletionCode, LanParameter, NetFn, PayloadType, PrivilegeLevel } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { type Answer, type CommandContext, type Handler, type Handlers, key, le16, ok, refuse } from './command-handler.ts';
import { SOL_PAYLOAD_BYTES } from './serial-over-lan.ts';
import { USER_SLOTS } from './users.ts';

const PARAMETER_NOT_SUPPORTED = 0x80;
const ALREADY_ACTIVE = 0x80;
const ALREADY_INACTIVE = 0x80;
const PAYLOAD_DISABLED = 0x81;
const NEEDS_ENCRYPTION = 0x84;
const WRONG_PASSWORD = 0x80;
const WRONG_PASSWORD_SIZE = 0x81;
const { user, operator, administrator } = PrivilegeLevel;

export const userHandlers: Handlers = new Map<number, Handler>([
  [
    key(NetFn.app, Command.getUserAccess),
    {
      privilege: operator,
      minBytes: 2,
      answer(data, { users }) {
        const id = data.readUInt8(1) & 0x3f;
        if (id < 1 || id > USER_SLOTS) return refuse(CompletionCode.invalidDataField);
        const slot = users.slot(id);
        const access = (slot?.privilege ?? 15) | (slot?.ipmi ? 0x10 : 0);
        return ok(USER_SLOTS, ((slot?.enabled ? 1 : 2) << 6) | users.enabledCount, 1, access);
      },
    },
  ],
  [
    key(NetFn.app, Command.getUserName),
    {
      privilege: operator,
      minBytes: 1,
      answer(data, { users }) {
        const id = data.readUInt8(0) & 0x3f;
        if (id < 1 || id > USER_SLOTS) return refuse(CompletionCode.invalidDataField);
        const name = Buffer.alloc(16);
        name.write(users.slot(id)?.name ?? '');
        return ok(...name);
      },
    },
  ],
  [
    key(NetFn.app, Command.setUserName),
    {
      privilege: administrator,
      minBytes: 17,
      answer(data, { users }) {
        const id = data.readUInt8(0) & 0x3f;
        if (id < 2 || id > USER_SLOTS) return refuse(CompletionCode.invalidDataField); // slot 1 is the null user
        users.edit(id).name = data.toString('utf8', 1, 17).replace(/\0.*$/s, '');
        return ok();
      },
    },
  ],
  [
    key(NetFn.app, Command.setUserAccess),
    {
      privilege: administrator,
      minBytes: 3,
      answer(data, { users }) {
        const id = data.readUInt8(1) & 0x3f;
        if (id < 1 || id > USER_SLOTS) return refuse(CompletionCode.invalidDataField);
        const slot = users.edit(id);
        if (data.readUInt8(0) & 0x80) slot.ipmi = (data.readUInt8(0) & 0x10) !== 0;
        slot.privilege = data.readUInt8(2) & 0x0f;
        return ok();
      },
    },
  ],
  [key(NetFn.app, Command.setUserPassword), { privilege: administrator, minBytes: 2, answer: setPassword }],
  [key(NetFn.transport, Command.getLanParameter), { privilege: operator, minBytes: 4, answer: getLanParameter }],
  [key(NetFn.app, Command.activatePayload), { privilege: user, minBytes: 6, answer: activatePayload }],
  [key(NetFn.app, Command.deactivatePayload), { privilege: user, minBytes: 6, answer: deactivatePayload }],
  // Get Payload Activation Status: one instance
  [key(NetFn.app, 0x4a), { privilege: user, minBytes: 1, answer: (_, { sol }) => ok(0x01, sol.session ? 0x01 : 0x00, 0x00) }],
  // Get Payload Instance Info: session that has it
  [
    key(NetFn.app, 0x4b),
    { privilege: user, minBytes: 2, answer: (_, { sol }) => ok(sol.session ? 1 : 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) },
  ],
  // Get User Payload Access: SOL
  [key(NetFn.app, 0x4d), { privilege: operator, minBytes: 2, answer: () => ok(0x02, 0x00, 0x00, 0x00) }],
  // Get Channel Payload Support: IPMI and SOL; Open Session and RAKP
  [key(NetFn.app, 0x4e), { privilege: user, minBytes: 1, answer: () => ok(0x03, 0x00, 0x3f, 0x00, 0x00, 0x00, 0x00, 0x00) }],
  // Get Channel Payload Version 1.0
  [key(NetFn.app, 0x4f), { privilege: user, minBytes: 2, answer: () => ok(0x10) }],
  // Get Channel Access: always available, user level authentication, administrators
  [key(NetFn.app, 0x41), { privilege: user, minBytes: 2, answer: () => ok(0x02, administrator) }],
  // Get Channel Info: channel 1, 802.3 LAN, IPMB protocol, multi-session
  [key(NetFn.app, 0x42), { privilege: user, minBytes: 1, answer: () => ok(0x01, 0x04, 0x01, 0x80, 0xf2, 0x1b, 0x00, 0x00, 0x00) }],
  [key(NetFn.transport, 0x22), { privilege: operator, minBytes: 4, answer: getSolParameter }],
]);

function setPassword(data: Buffer, { users }: CommandContext): Answer {
  const id = data.readUInt8(0) & 0x3f;
  const bytes = data.readUInt8(0) & 0x80 ? 20 : 16;
  if (id < 1 || id > USER_SLOTS) return refuse(CompletionCode.invalidDataField);
  const operation = data.readUInt8(1) & 0x03;
  if (operation < 2) {
    users.edit(id).enabled = operation === 1;
    return ok();
  }
  if (data.length < 2 + bytes) return refuse(CompletionCode.dataLengthInvalid);
  const given = withoutPadding(data.subarray(2, 2 + bytes));
  if (operation === 2) {
    Object.assign(users.edit(id), { password: given, passwordBytes: bytes });
    return ok();
  }
  const slot = users.slot(id);
  if (!slot) return refuse(CompletionCode.invalidDataField);
  if (slot.passwordBytes !== bytes) return refuse(WRONG_PASSWORD_SIZE);
  return slot.password.equals(given) ? ok() : refuse(WRONG_PASSWORD);
}

function withoutPadding(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end));
}

function getLanParameter(data: Buffer, { address, suites }: CommandContext): Answer {
  const revision = 0x11;
  const quad = (text: string): number[] => text.split('.').map(Number);
  const own = /^\d+\.\d+\.\d+\.\d+$/.test(address) ? quad(address) : [0, 0, 0, 0];
  switch (data.readUInt8(1)) {
    case 0: // set in progress
      return ok(revision, 0);
    case 1: // authentication types: none
      return ok(revision, 0);
    case 2:
      return ok(revision, 0, 0, 0, 0, 0);
    case LanParameter.address:
      return ok(revision, ...own);
    case LanParameter.source:
      return ok(revision, 0x01);
    case LanParameter.mac:
      return ok(revision, 0x02, 0x62, ...own);
    case LanParameter.mask:
      return ok(revision, 255, 255, 255, 0);
    case LanParameter.gateway:
      return ok(revision, ...own.slice(0, 3), 1);
    case LanParameter.gatewayMac:
      return ok(revision, 0x02, 0x62, 0x6d, 0, 0, 1);
    case LanParameter.vlan:
      return ok(revision, 0, 0);
    case LanParameter.suiteCount:
      return ok(revision, suites.length);
    case LanParameter.suites:
      return ok(revision, 0, ...suites.map(({ id }) => id), ...Array(16 - suites.length).fill(0));
    case 24: // privilege of each suite: administrator
      return ok(revision, 0, ...Array(8).fill(0x44));
    default:
      return refuse(PARAMETER_NOT_SUPPORTED);
  }
}

/** Table 26-5. */
function getSolParameter(data: Buffer, { sol, port }: CommandContext): Answer {
  const revision = 0x11;
  switch (data.readUInt8(1)) {
    case 0:
      return ok(revision, 0);
    case 1:
      return ok(revision, sol.present ? 1 : 0);
    case 2: // encryption and authentication forced, user level
      return ok(revision, 0xc0 | user);
    case 3: // sent after 12 × 5 ms, or 96 characters
      return ok(revision, 12, 96);
    case 4: // 7 tries, 40 × 10 ms
      return ok(revision, 7, 40);
    case 5:
    case 6: // 115.2 kbit/s
      return ok(revision, 0x0a);
    case 7:
      return ok(revision, 1);
    case 8:
      return ok(revision, ...le16(port));
    default:
      return refuse(PARAMETER_NOT_SUPPORTED);
  }
}

function activatePayload(data: Buffer, { session, sol, port }: CommandContext): Answer {
  if (!session || data.readUInt8(0) !== PayloadType.sol || data.readUInt8(1) !== 1) return refuse(CompletionCode.invalidDataField);
  if (!sol.present) return refuse(PAYLOAD_DISABLED);
  if (sol.session && sol.session !== session.active) return refuse(ALREADY_ACTIVE);
  const secure = session.active.keys.suite.confidentiality !== 0;
  if (secure && (data.readUInt8(2) & 0xc0) !== 0xc0) return refuse(NEEDS_ENCRYPTION);
  if (!sol.session) sol.activate(session.active);
  return ok(0, 0, 0, 0, ...le16(SOL_PAYLOAD_BYTES), ...le16(SOL_PAYLOAD_BYTES), ...le16(port), 0xff, 0xff);
}

function deactivatePayload(data: Buffer, { session, sol }: CommandContext): Answer {
  if (data.readUInt8(0) !== PayloadType.sol || data.readUInt8(1) !== 1) return refuse(CompletionCode.invalidDataField);
  if (!sol.session) return refuse(ALREADY_INACTIVE);
  sol.deactivate(sol.session !== session?.active);
  return ok();
}
