/** The IPMI commands that power management needs: request bytes and answer of each, with the table of IPMI v2.0 rev 1.1. */
import { ByteReader, MalformedPacket } from './bytes.ts';
import { NetFn } from './message.ts';

/** One command ready to be sent; `parse` throws MalformedPacket for an answer that is too short. */
export interface IpmiCommand<T> {
  readonly name: string;
  readonly netFn: number;
  readonly command: number;
  readonly data: Uint8Array;
  /** `data` without the completion code. */
  parse(data: Buffer): T;
}

export const Command = {
  getDeviceId: 0x01,
  getChannelAuthCapabilities: 0x38,
  setSessionPrivilege: 0x3b,
  closeSession: 0x3c,
  getChannelCipherSuites: 0x54,
  getChassisStatus: 0x01,
  chassisControl: 0x02,
  setBootOptions: 0x08,
  getBootOptions: 0x09,
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
    parse: (data) => new ByteReader(data, 'Set Session Privilege Level').u8() & 0x0f,
  };
}

/** Table 22-24: the BMC's session ID, least significant byte first. */
export function closeSession(bmcSessionId: number): IpmiCommand<void> {
  const data = Buffer.alloc(4);
  data.writeUInt32LE(bmcSessionId);
  return { name: 'Close Session', netFn: NetFn.app, command: Command.closeSession, data, parse: () => undefined };
}

export interface DeviceId {
  readonly deviceId: number;
  readonly deviceRevision: number;
  /** e.g. `2.17`; the minor part is BCD. */
  readonly firmware: string;
  /** e.g. `2.0`. */
  readonly ipmiVersion: string;
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
  parse(data) {
    const reader = new ByteReader(data, 'Get Device ID');
    const deviceId = reader.u8();
    const deviceRevision = reader.u8() & 0x0f;
    const major = reader.u8() & 0x7f;
    const minor = reader.u8();
    const version = reader.u8();
    reader.skip(1);
    const manufacturer = reader.u16() | ((reader.u8() & 0x0f) << 16);
    const product = reader.u16();
    const firmware = `${major}.${minor.toString(16).padStart(2, '0')}`;
    return { deviceId, deviceRevision, firmware, ipmiVersion: `${version & 0x0f}.${version >> 4}`, manufacturer, product };
  },
};

export interface ChassisStatus {
  readonly powerOn: boolean;
  readonly powerFault: boolean;
  readonly overload: boolean;
  /** What the machine does when mains power returns. */
  readonly restorePolicy: 'stays-off' | 'previous' | 'on' | 'unknown';
}

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
  parse(data) {
    const power = new ByteReader(data, 'Get Chassis Status').u8();
    return {
      powerOn: (power & 0x01) !== 0,
      overload: (power & 0x02) !== 0,
      powerFault: (power & 0x08) !== 0,
      restorePolicy: RESTORE_POLICIES[(power >> 5) & 3] ?? 'unknown',
    };
  },
};

/** Table 28-4. `cycle` and `reset` are for the simulator's side: the client sends absolute commands only. */
export const ChassisAction = { off: 0, on: 1, cycle: 2, reset: 3, diagnosticInterrupt: 4, softOff: 5 } as const;

export function chassisControl(action: 'on' | 'off' | 'softOff'): IpmiCommand<void> {
  return {
    name: `Chassis Control (${action})`,
    netFn: NetFn.chassis,
    command: Command.chassisControl,
    data: Uint8Array.of(ChassisAction[action]),
    parse: () => undefined,
  };
}

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
