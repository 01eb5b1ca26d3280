/** The IPMI commands that power management needs: request bytes and answer of each, with the table of IPMI v2.0 rev 1.1. */
import { ByteReader, MalformedPacket } from './bytes.ts';
import { NetFn } from './message.ts';

/** One command ready to be sent; `parse` throws MalformedPacket for an answer that is too short. */
export interface IpmiCommand<T> {
  readonly name: string;
  readonly netFn: number;
  readonly command: number;
  readonly data: Uint8Array;
  /** Logical unit of the BMC. Default 0. */
  readonly lun?: number;
  /** Callers that ask at the same time may share one answer: it only reads, and is one packet. */
  readonly shared?: true;
  /** Enough for it is the level that every session starts with (Appendix G): no raise of privilege goes before it. */
  readonly userLevel?: true;
  /** Does more the second time: it goes out once, also when the answer is late or lost. */
  readonly once?: true;
  /** `data` without the completion code. */
  parse(data: Buffer): T;
}

export const Command = {
  getDeviceId: 0x01,
  getChannelAuthCapabilities: 0x38,
  setSessionPrivilege: 0x3b,
  closeSession: 0x3c,
  getSystemGuid: 0x37,
  setUserAccess: 0x43,
  getUserAccess: 0x44,
  setUserName: 0x45,
  getUserName: 0x46,
  setUserPassword: 0x47,
  activatePayload: 0x48,
  deactivatePayload: 0x49,
  coldReset: 0x02,
  getChannelCipherSuites: 0x54,
  getChassisStatus: 0x01,
  chassisControl: 0x02,
  setBootOptions: 0x08,
  getBootOptions: 0x09,
  getRestartCause: 0x07,
  setLanParameter: 0x01,
  getLanParameter: 0x02,
  getSensorFactors: 0x23,
  getSensorThresholds: 0x27,
  getSensorReading: 0x2d,
  getDeviceSdrInfo: 0x20,
  getDeviceSdr: 0x21,
  reserveDeviceSdrs: 0x22,
  getSdrInfo: 0x20,
  reserveSdrs: 0x22,
  getSdr: 0x23,
  getSelInfo: 0x40,
  reserveSel: 0x42,
  getSelEntry: 0x43,
  clearSel: 0x47,
} as const;

/** "The channel that this request came in on." */
const THIS_CHANNEL = 0x0e;
const V2_EXTENDED = 0x80;

export interface ChannelAuthCapabilities {
  readonly channel: number;
  readonly ipmi20: boolean;
  /** A K_G other than zero is set: "two-key log-in", which is not supported. */
  readonly twoKey: boolean;
  readonly nonNullUsernames: boolean;
}

/*
 *  Table 22-15, Get Channel Authentication Capabilities
 *  request  +------------------------+---------------------+
 *           | 7: IPMI 2.0 data       | requested privilege |
 *           | 3:0 channel, Eh: this  | 3:0                 |
 *           +------------------------+---------------------+
 *  answer   +---------+------------+---------------------------+---------------+---------+---------+
 *           | channel | auth types | 5: K_G set  2: names used | 1: IPMI 2.0   | OEM     | OEM     |
 *           | 1       | 7: 2.0 data| 1: null names 0: anonymous| 0: IPMI 1.5   | IANA 3  | data 1  |
 *           +---------+------------+---------------------------+---------------+---------+---------+
 */
export function getChannelAuthCapabilities(privilege: number): IpmiCommand<ChannelAuthCapabilities> {
  return {
    name: 'Get Channel Authentication Capabilities',
    netFn: NetFn.app,
    command: Command.getChannelAuthCapabilities,
    data: Uint8Array.of(THIS_CHANNEL | V2_EXTENDED, privilege),
    parse(data) {
      const reader = new ByteReader(data, 'Get Channel Authentication Capabilities');
      const channel = reader.u8() & 0x0f;
      const types = reader.u8();
      const status = reader.u8();
      const extended = reader.u8();
      return {
        channel,
        ipmi20: (types & V2_EXTENDED) !== 0 && (extended & 0x02) !== 0,
        twoKey: (status & 0x20) !== 0,
        nonNullUsernames: (status & 0x04) !== 0,
      };
    },
  };
}

/*
 *  Table 22-17, Get Channel Cipher Suites
 *  request  +---------+--------------+-------------------------------------+
 *           | channel | payload type | 7: list by suite  5:0 list index    |
 *           +---------+--------------+-------------------------------------+
 *  answer   +---------+------------------------------------------------------------------+
 *           | channel | up to 16 bytes of the list; fewer: this is its end               |
 *           +---------+------------------------------------------------------------------+
 */
export function getChannelCipherSuites(index: number): IpmiCommand<Uint8Array> {
  return {
    name: 'Get Channel Cipher Suites',
    netFn: NetFn.app,
    command: Command.getChannelCipherSuites,
    data: Uint8Array.of(THIS_CHANNEL, 0, 0x80 | index),
    parse(data) {
      const reader = new ByteReader(data, 'Get Channel Cipher Suites');
      reader.skip(1);
      return reader.rest();
    },
  };
}

/** Table 22-23: the answer is the level now in force. */
export function setSessionPrivilege(level: number): IpmiCommand<number> {
  return {
    name: 'Set Session Privilege Level',
    netFn: NetFn.app,
    command: Command.setSessionPrivilege,
    data: Uint8Array.of(level),
    userLevel: true,
    parse: (data) => new ByteReader(data, 'Set Session Privilege Level').u8() & 0x0f,
  };
}

/** Table 22-24: the BMC's session ID, least significant byte first. */
export function closeSession(bmcSessionId: number): IpmiCommand<void> {
  const data = Buffer.alloc(4);
  data.writeUInt32LE(bmcSessionId);
  return { name: 'Close Session', netFn: NetFn.app, command: Command.closeSession, data, userLevel: true, parse: () => undefined };
}

export interface DeviceId {
  readonly deviceId: number;
  readonly deviceRevision: number;
  /** e.g. `2.17`; the minor part is BCD. */
  readonly firmware: string;
  /** e.g. `2.0`. */
  readonly ipmiVersion: string;
  /** Firmware is being written, or the BMC initialises itself. */
  readonly busy: boolean;
  /** Table 20-2, additional device support. */
  readonly hasSensors: boolean;
  readonly hasSdrRepository: boolean;
  readonly hasSel: boolean;
  /** IANA enterprise number. */
  readonly manufacturer: number;
  readonly product: number;
}

/*
 *  Table 20-2, Get Device ID, answer
 *  +-----------+----------+---------------+-------+--------------+------------+--------------+---------+-------+
 *  | device ID | revision | 7: updating   | minor | IPMI version | additional | manufacturer | product | aux   |
 *  | 1         | 3:0      | 6:0 major     | BCD   | BCD, swapped | support 1  | 3            | 2       | 0 or 4|
 *  +-----------+----------+---------------+-------+--------------+------------+--------------+---------+-------+
 */
export const getDeviceId: IpmiCommand<DeviceId> = {
  name: 'Get Device ID',
  netFn: NetFn.app,
  command: Command.getDeviceId,
  data: new Uint8Array(0),
  shared: true,
  userLevel: true,
  parse(data) {
    const reader = new ByteReader(data, 'Get Device ID');
    const deviceId = reader.u8();
    const deviceRevision = reader.u8() & 0x0f;
    const majorByte = reader.u8();
    const major = majorByte & 0x7f;
    const minor = reader.u8();
    const version = reader.u8();
    const support = reader.u8();
    const manufacturer = reader.u16() | ((reader.u8() & 0x0f) << 16);
    const product = reader.u16();
    const firmware = `${major}.${minor.toString(16).padStart(2, '0')}`;
    return {
      deviceId,
      deviceRevision,
      firmware,
      ipmiVersion: `${version & 0x0f}.${version >> 4}`,
      busy: (majorByte & 0x80) !== 0,
      hasSensors: (support & 0x01) !== 0,
      hasSdrRepository: (support & 0x02) !== 0,
      hasSel: (support & 0x04) !== 0,
      manufacturer,
      product,
    };
  },
};

export interface ChassisStatus {
  readonly powerOn: boolean;
  readonly powerFault: boolean;
  readonly overload: boolean;
  /** What the machine does when mains power returns. */
  readonly restorePolicy: 'stays-off' | 'previous' | 'on' | 'unknown';
  /** Why the power changed last; empty when the BMC says nothing of it. */
  readonly lastPowerEvent: readonly string[];
  readonly intrusion: boolean;
  readonly driveFault: boolean;
  readonly fanFault: boolean;
}

const POWER_EVENTS = ['mains failed', 'overload', 'interlock', 'power fault', 'switched on by IPMI'] as const;

const RESTORE_POLICIES = ['stays-off', 'previous', 'on', 'unknown'] as const;

/*
 *  Table 28-3, Get Chassis Status, answer
 *  +-----------------------------------------+------------------+-------------------+-----------------+
 *  | 6:5 restore policy  4: control fault    | last power event | misc. state       | front panel     |
 *  | 3: fault  2: interlock  1: overload  0: on | 1             | 1                 | buttons 0 or 1  |
 *  +-----------------------------------------+------------------+-------------------+-----------------+
 */
export const getChassisStatus: IpmiCommand<ChassisStatus> = {
  name: 'Get Chassis Status',
  netFn: NetFn.chassis,
  command: Command.getChassisStatus,
  data: new Uint8Array(0),
  shared: true,
  userLevel: true,
  parse(data) {
    const reader = new ByteReader(data, 'Get Chassis Status');
    const power = reader.u8();
    const event = reader.remaining > 0 ? reader.u8() : 0; // some answer the first byte only
    const misc = reader.remaining > 0 ? reader.u8() : 0;
    return {
      lastPowerEvent: POWER_EVENTS.filter((_, bit) => (event >> bit) & 1),
      intrusion: (misc & 0x01) !== 0,
      driveFault: (misc & 0x04) !== 0,
      fanFault: (misc & 0x08) !== 0,
      powerOn: (power & 0x01) !== 0,
      overload: (power & 0x02) !== 0,
      powerFault: (power & 0x08) !== 0,
      restorePolicy: RESTORE_POLICIES[(power >> 5) & 3] ?? 'unknown',
    };
  },
};

/** Table 28-4. `cycle`, `reset` and `diagnosticInterrupt` are for a person at bmctl: a PowerManager sends absolute commands only. */
export const ChassisAction = { off: 0, on: 1, cycle: 2, reset: 3, diagnosticInterrupt: 4, softOff: 5 } as const;
export type ChassisActionName = keyof typeof ChassisAction;
const RELATIVE: ReadonlySet<ChassisActionName> = new Set(['cycle', 'reset', 'diagnosticInterrupt']);

export function chassisControl(action: ChassisActionName): IpmiCommand<void> {
  return {
    name: `Chassis Control (${action})`,
    netFn: NetFn.chassis,
    command: Command.chassisControl,
    data: Uint8Array.of(ChassisAction[action]),
    ...(RELATIVE.has(action) && { once: true }),
    parse: () => undefined,
  };
}

export interface RestartCause {
  /** Table 28-11, e.g. `Chassis Control command`. */
  readonly cause: string;
  readonly code: number;
}

const RESTART_CAUSES = [
  'unknown',
  'Chassis Control command',
  'reset button',
  'power button',
  'watchdog expired',
  'OEM',
  'mains returned: always on',
  'mains returned: as before',
  'reset by PEF',
  'power cycle by PEF',
  'soft reset (e.g. ctrl-alt-del)',
  'real-time clock',
] as const;

/** Table 28-11. */
export const getRestartCause: IpmiCommand<RestartCause> = {
  name: 'Get System Restart Cause',
  netFn: NetFn.chassis,
  command: Command.getRestartCause,
  data: new Uint8Array(0),
  shared: true,
  userLevel: true,
  parse(data) {
    const code = new ByteReader(data, 'Get System Restart Cause').u8() & 0x0f;
    return { code, cause: RESTART_CAUSES[code] ?? `reserved code ${code}` };
  },
};

/**
 * Section 22.14: the GUID as the BMC sends it. RFC 4122 text of it: the specification wants the bytes reversed (least significant first), SMBIOS mixes both,
 * and vendors do either; so the bytes are given as they come, and `smbios` as most servers print them.
 */
export const getSystemGuid: IpmiCommand<{ readonly raw: string; readonly smbios: string }> = {
  name: 'Get System GUID',
  netFn: NetFn.app,
  command: Command.getSystemGuid,
  data: new Uint8Array(0),
  shared: true,
  userLevel: true,
  parse(data) {
    const raw = new ByteReader(data, 'Get System GUID').bytes(16);
    const hex = (from: number, to: number): string => raw.subarray(from, to).toString('hex');
    const swapped = (from: number, to: number): string => Buffer.from(raw.subarray(from, to)).reverse().toString('hex');
    return { raw: raw.toString('hex'), smbios: `${swapped(0, 4)}-${swapped(4, 6)}-${swapped(6, 8)}-${hex(8, 10)}-${hex(10, 16)}` };
  },
};

/** Section 20.2: the BMC restarts and ends every session; the machine is not touched. Many never answer it. */
export const coldReset: IpmiCommand<void> = {
  name: 'Cold Reset',
  netFn: NetFn.app,
  command: Command.coldReset,
  data: new Uint8Array(0),
  parse: () => undefined,
};

/** Tables 28-12 and 28-13: `parameter` as in Table 28-14. */
export function setBootOption(parameter: number, data: Uint8Array): IpmiCommand<void> {
  return {
    name: `Set System Boot Options (parameter ${parameter})`,
    netFn: NetFn.chassis,
    command: Command.setBootOptions,
    data: Uint8Array.of(parameter, ...data),
    parse: () => undefined,
  };
}

export function getBootOption(parameter: number): IpmiCommand<Uint8Array> {
  return {
    name: `Get System Boot Options (parameter ${parameter})`,
    netFn: NetFn.chassis,
    command: Command.getBootOptions,
    data: Uint8Array.of(parameter, 0, 0),
    parse(data) {
      const reader = new ByteReader(data, 'Get System Boot Options');
      reader.skip(1); // parameter version
      const answered = reader.u8() & 0x7f;
      if (answered !== parameter) throw new MalformedPacket(`boot option ${answered}, ${parameter} expected`);
      return reader.rest();
    },
  };
}
