/** Checks a BmcAccess once, so that a session can rely on it. */

import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { powerErrors } from '../errors.ts';
import type { BmcAccess, Privilege } from '../power-manager.ts';
import { CIPHER_SUITES, type CipherSuite, cipherSuite } from './cipher-suite.ts';
import { MAX_PASSWORD_BYTES, MAX_USERNAME_BYTES, PrivilegeLevel } from './rakp.ts';
import { RMCP_PORT } from './rmcp.ts';

export interface CheckedAccess {
  /** `address:port`, how errors and logs call this BMC. */
  readonly bmc: string;
  readonly address: string;
  readonly port: number;
  readonly username: string;
  readonly password: Secret;
  /** In order of preference. */
  readonly suites: readonly CipherSuite[];
  readonly privilege: Privilege;
  readonly privilegeLevel: number;
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const IPV6 = /^[0-9a-f:.]*:[0-9a-f:.]*(?:%[\w.-]+)?$/i;

/** Throws POWER_ACCESS_INVALID, which names the field and never the password. */
export function checkAccess(access: BmcAccess): CheckedAccess {
  const { address: given, port = RMCP_PORT, username, password, privilege = 'operator' } = access;
  const address = canonical(given);
  if (!address) throw powerErrors.POWER_ACCESS_INVALID({ field: 'address', problem: 'is missing' });
  if (!IPV4.test(address) && !IPV6.test(address))
    throw powerErrors.POWER_ACCESS_INVALID({ field: 'address', problem: `"${address}" is not an IP address` });
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw powerErrors.POWER_ACCESS_INVALID({ field: 'port', problem: `${port} is not in 1–65535` });
  if (username === undefined) throw powerErrors.POWER_ACCESS_INVALID({ field: 'user', problem: 'is missing' });
  if (password === undefined) throw powerErrors.POWER_ACCESS_INVALID({ field: 'password', problem: 'is missing' });
  checkText('user', username, MAX_USERNAME_BYTES, `"${username}"`);
  checkText('password', password.reveal(), MAX_PASSWORD_BYTES, '(not shown)');
  return {
    bmc: bmcName(address, port),
    address,
    port,
    username,
    password,
    suites: suitesOf(access.cipherSuite),
    privilege,
    privilegeLevel: PrivilegeLevel[privilege],
  };
}

/** What errors, logs and stops call a BMC, in one spelling. */
export function bmcName(address: string, port: number): string {
  const one = canonical(address);
  return one.includes(':') ? `[${one}]:${port}` : `${one}:${port}`;
}

export function sameCredentials(a: CheckedAccess, b: CheckedAccess): boolean {
  return a === b || (a.username === b.username && a.password.equals(b.password));
}

/** Would a session opened for `a` serve `b`? */
export function sameSession(a: CheckedAccess, b: CheckedAccess): boolean {
  if (a === b) return true; // the usual case, on the path of every command
  return sameCredentials(a, b) && a.privilege === b.privilege && a.suites.map((s) => s.id).join() === b.suites.map((s) => s.id).join();
}

/** One spelling for one BMC: with two it would have two lines, and a stop of one would not hold the other. A zone stays. */
function canonical(address: string): string {
  if (!address.includes(':')) return address;
  const [plain = '', ...zone] = address.split('%');
  const host = URL.canParse(`http://[${plain}]/`) ? new URL(`http://[${plain}]/`).hostname.slice(1, -1) : plain;
  return [host, ...zone].join('%');
}

function suitesOf(id: number | undefined): readonly CipherSuite[] {
  if (id === undefined) return CIPHER_SUITES;
  const suite = cipherSuite(id);
  if (!suite)
    throw powerErrors.POWER_ACCESS_INVALID({
      field: 'cipher suite',
      problem: `${id} is not supported (17, 3, and by name 2, 1 and 0 are)`,
    });
  return [suite];
}

function checkText(field: string, value: string, maxBytes: number, shown: string): void {
  const bytes = Buffer.byteLength(value);
  if (bytes > maxBytes) throw powerErrors.POWER_ACCESS_INVALID({ field, problem: `${shown} has ${bytes} bytes, IPMI allows ${maxBytes}` });
  if (value.includes('\0')) throw powerErrors.POWER_ACCESS_INVALID({ field, problem: `${shown} contains a NUL byte` });
}
