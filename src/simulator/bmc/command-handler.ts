/** What a command of a simulated BMC is given, and gives. */
import { type CipherSuite, CompletionCode } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import type { ActiveSession } from './bmc-sessions.ts';
import type { BootOptions, PowerSequencer } from './chassis.ts';
import type { EventLog } from './event-log.ts';
import type { BmcFaults } from './faults.ts';
import type { SimulatedSensor } from './sensor-model.ts';
import type { SerialOverLan } from './serial-over-lan.ts';
import type { BmcUsers } from './users.ts';

export interface CommandContext {
  readonly power: PowerSequencer;
  readonly boot: BootOptions;
  readonly faults: BmcFaults;
  readonly suites: readonly CipherSuite[];
  readonly maker: { readonly manufacturer: number; readonly product: number };
  readonly guid: Uint8Array;
  readonly users: BmcUsers;
  readonly sensors: readonly SimulatedSensor[];
  /** Their records. */
  readonly sdrs: readonly Buffer[];
  /** 0: cancelled. */
  readonly sdrReservation: { current: number };
  readonly log: EventLog;
  readonly sol: SerialOverLan;
  /** IPv4 address of the BMC, for its LAN parameters. */
  readonly address: string;
  readonly port: number;
  /** A number that was not given before. */
  newReservation(): number;
  /** Cold Reset. */
  restart(): void;
  /** Absent outside a session. */
  readonly session?: CommandSession;
}

export interface CommandSession {
  privilege: number;
  readonly maxPrivilege: number;
  readonly active: ActiveSession;
  /** False: no session has this ID. */
  end(bmcSessionId: number): boolean;
}

export interface Answer {
  readonly code: number;
  readonly data?: Uint8Array;
}

export interface Handler {
  /** Lowest privilege, Appendix G; `none`: may be asked without a session. */
  readonly privilege: number | 'none';
  readonly minBytes?: number;
  answer(data: Buffer, context: CommandContext): Answer;
}

export type Handlers = ReadonlyMap<number, Handler>;

export const key = (netFn: number, command: number): number => (netFn << 8) | command;
export const ok = (...data: number[]): Answer => ({ code: CompletionCode.ok, data: Uint8Array.from(data) });
export const refuse = (code: number): Answer => ({ code });
export const le16 = (value: number): readonly [number, number] => [value & 0xff, (value >> 8) & 0xff];
export const le32 = (value: number): readonly number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
