/** Users of a BMC (IPMI v2.0 rev 1.1 sections 22.26 to 22.30). */
import { codeOf, powerErrors } from '../errors.ts';
import { ByteReader } from './bytes.ts';
import { Command, type IpmiCommand } from './commands.ts';
import { CompletionCode, completionCodeOf } from './completion-code.ts';
import { NetFn } from './message.ts';
import { MAX_PASSWORD_BYTES, MAX_USERNAME_BYTES } from './rakp.ts';
import type { RunCommand } from './sensors.ts';

const THIS_CHANNEL = 0x0e;
const USER_ID = 0x3f;

export interface UserAccess {
  readonly maxUsers: number;
  readonly enabledUsers: number;
  readonly fixedNames: number;
  readonly enabled: boolean;
  /** 0 unknown, 1 callback … 4 administrator, 5 OEM, 15 none. */
  readonly privilege: number;
  readonly ipmi: boolean;
  readonly link: boolean;
  readonly callbackOnly: boolean;
}

/** Table 22-28. */
export function getUserAccess(id: number, channel = THIS_CHANNEL): IpmiCommand<UserAccess> {
  return {
    name: `Get User Access (${id})`,
    netFn: NetFn.app,
    command: Command.getUserAccess,
    data: Uint8Array.of(channel, id & USER_ID),
    parse(data) {
      const reader = new ByteReader(data, 'Get User Access');
      const maxUsers = reader.u8() & USER_ID;
      const status = reader.u8();
      const fixedNames = reader.u8() & USER_ID;
      const access = reader.u8();
      return {
        maxUsers,
        enabledUsers: status & USER_ID,
        fixedNames,
        enabled: status >> 6 !== 2, // 0: firmware of before this field existed
        privilege: access & 0x0f,
        ipmi: (access & 0x10) !== 0,
        link: (access & 0x20) !== 0,
        callbackOnly: (access & 0x40) !== 0,
      };
    },
  };
}

/** Table 22-29. */
export function getUserName(id: number): IpmiCommand<string> {
  return {
    name: `Get User Name (${id})`,
    netFn: NetFn.app,
    command: Command.getUserName,
    data: Uint8Array.of(id & USER_ID),
    parse: (data) => new ByteReader(data, 'Get User Name').rest().toString('utf8').replace(/\0.*$/s, ''),
  };
}

/** Table 22-27: 16 bytes, filled up with NUL. */
export function setUserName(id: number, name: string): IpmiCommand<void> {
  const data = Buffer.alloc(1 + MAX_USERNAME_BYTES);
  data[0] = id & USER_ID;
  data.write(name, 1, MAX_USERNAME_BYTES, 'utf8');
  return { name: `Set User Name (${id})`, netFn: NetFn.app, command: Command.setUserName, data, parse: () => undefined };
}

/** Table 22-26: privilege and IPMI messaging on this channel. */
export function setUserAccess(id: number, access: { readonly privilege: number; readonly ipmi: boolean }): IpmiCommand<void> {
  return {
    name: `Set User Access (${id})`,
    netFn: NetFn.app,
    command: Command.setUserAccess,
    data: Uint8Array.of(0x80 | (access.ipmi ? 0x10 : 0) | THIS_CHANNEL, id & USER_ID, access.privilege, 0),
    parse: () => undefined,
  };
}

export const PasswordOperation = { disable: 0, enable: 1, set: 2, test: 3 } as const;
/** A BMC keeps a password as 16 bytes (as IPMI 1.5 had it) or as 20. */
export type PasswordBytes = 16 | 20;

/** Table 22-30. `disable` and `enable` carry no password. */
export function userPassword(
  id: number,
  operation: keyof typeof PasswordOperation,
  password?: { readonly text: string; readonly bytes: PasswordBytes },
): IpmiCommand<void> {
  const data = Buffer.alloc(2 + (password?.bytes ?? 0));
  data[0] = (password?.bytes === 20 ? 0x80 : 0) | (id & USER_ID);
  data[1] = PasswordOperation[operation];
  if (password) data.write(password.text, 2, password.bytes, 'utf8');
  return { name: `Set User Password (${operation})`, netFn: NetFn.app, command: Command.setUserPassword, data, parse: () => undefined };
}

export interface BmcUserEntry extends UserAccess {
  readonly id: number;
  readonly name: string;
}

/** All user slots that have a name or are enabled; slot 1 is the null user. */
export async function readUsers(run: RunCommand, signal?: AbortSignal): Promise<readonly BmcUserEntry[]> {
  const users: BmcUserEntry[] = [];
  const first = await run(getUserAccess(1), signal);
  for (let id = 1; id <= first.maxUsers; id++) {
    const access = id === 1 ? first : await run(getUserAccess(id), signal);
    // firmware answers CCh for slots that were never named
    const name = await run(getUserName(id), signal).catch((error: unknown) => {
      if (codeOf(error) !== 'IPMI_COMPLETION') throw error;
      return '';
    });
    if (name !== '' || (access.enabled && access.privilege > 0 && access.privilege < 5)) users.push({ id, name, ...access });
  }
  return users;
}

/** How a password must be tested: the size it was set with is part of the comparison. Undefined: it is another password. */
export async function testPassword(run: RunCommand, id: number, text: string, signal?: AbortSignal): Promise<PasswordBytes | undefined> {
  checkPassword(text);
  const least = Buffer.byteLength(text) > 16 ? 20 : 16;
  for (const bytes of [20, 16] as const) {
    if (bytes < least) continue;
    try {
      await run(userPassword(id, 'test', { text, bytes }), signal);
      return bytes;
    } catch (error) {
      const code = completionCodeOf(error);
      const unknownSize = code === CompletionCode.dataLengthInvalid || code === CompletionCode.invalidDataField;
      if (code !== 0x80 && code !== 0x81 && !(unknownSize && bytes > least)) throw error;
    }
  }
  return undefined;
}

/** 16 bytes when they suffice: a password of 20 cannot be used by IPMI 1.5, and some firmware forgets the rest. */
export async function setPassword(run: RunCommand, id: number, text: string, signal?: AbortSignal): Promise<PasswordBytes> {
  checkPassword(text);
  const bytes = Buffer.byteLength(text) > 16 ? 20 : 16;
  await run(userPassword(id, 'set', { text, bytes }), signal);
  return bytes;
}

function checkPassword(text: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_PASSWORD_BYTES)
    throw powerErrors.POWER_ACCESS_INVALID({
      field: 'password',
      problem: `(not shown) has ${bytes} bytes, IPMI allows ${MAX_PASSWORD_BYTES}`,
    });
  if (text.includes('\0')) throw powerErrors.POWER_ACCESS_INVALID({ field: 'password', problem: '(not shown) contains a NUL byte' });
}
