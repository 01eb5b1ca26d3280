/** A machine as another system exported it, ready to be enrolled: pure data. */
import { createHash } from 'node:crypto';
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { parsePowerUrl, powerUrlOf } from '../../power/index.ts';
import type { EnrolRequest } from '../nodes.ts';

export interface ImportedMachine {
  /** Without the password: exports mask it, or keep it in an object of its own. */
  readonly enrol: Omit<EnrolRequest, 'bmc'> & { readonly bmc: Omit<EnrolRequest['bmc'], 'password' | 'passwordRef'> };
  /** Where the password was kept, if the export says so: `namespace/name` of a Secret. */
  readonly credentials?: string;
  /** Where that was exported, too. */
  readonly password?: Secret;
  readonly maintenance?: string;
  /** What could not be taken over as it was. */
  readonly warnings: readonly string[];
}

export type Import = {
  readonly machines: readonly ImportedMachine[];
  /** What could not be taken over at all, and why. */
  readonly refused: readonly { readonly name: string; readonly reason: string }[];
};

/** `ipmi://10.0.0.1:6230`, `redfish-virtualmedia+https://[fd00::1]/redfish/v1/Systems/1`, a bare address. */
export function bmcOf(text: string): { driver: 'ipmi' | 'redfish'; address: string; port?: number; path?: string } | undefined {
  const scheme = /^([a-z0-9-]+)(?:\+(https?))?:\/\//i.exec(text);
  const kind = (scheme?.[1] ?? 'ipmi').toLowerCase();
  const driver = kind === 'ipmi' || kind === 'libvirt' ? 'ipmi' : /^(?:redfish|idrac|ilo|https?)/.test(kind) ? 'redfish' : undefined;
  if (driver === undefined) return undefined;
  const rest = scheme === null ? text : text.slice(scheme[0].length);
  if (!URL.canParse(`http://${rest}`)) return undefined;
  const url = new URL(`http://${rest}`);
  const address = url.hostname.replace(/^\[|\]$/g, '');
  if (address === '') return undefined;
  // URL leaves out the port that is http's own
  const port = url.port === '' ? (/:80(?:\/|$)/.test(rest) ? 80 : undefined) : Number(url.port);
  const path = url.pathname === '/' ? undefined : url.pathname;
  return { driver, address, ...(port !== undefined && { port }), ...(path !== undefined && { path }) };
}

/** As it is enrolled: of a Redfish service as a URL where it has a host's name, or where the path of the system is told, since it may have several machines. */
export function recordedAs({ driver, address, port, path }: NonNullable<ReturnType<typeof bmcOf>>): {
  driver: 'ipmi' | 'redfish';
  address: string;
  port?: number;
} {
  const where = { driver, address, ...(port !== undefined && { port }) };
  if (driver !== 'redfish') return where;
  const service = powerUrlOf(where);
  if (path !== undefined && isPathOfSystem(`${service}${path}`)) return { driver, address: `${service}${path}` };
  return /^[\d.]+$|:/.test(address) ? where : { driver, address: service };
}

function isPathOfSystem(url: string): boolean {
  try {
    parsePowerUrl(url);
    return true;
  } catch {
    return false;
  }
}

/** A positive whole number of whatever an export wrote: a number, digits in a string. */
export function wholeNumber(value: unknown): number | undefined {
  const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) && number > 0 ? number : undefined;
}

/** Images have names here and addresses elsewhere: `http://images/ubuntu.qcow2?x=1` → `ubuntu.qcow2`. An id stays as it is. */
export function imageIdOf(text: string): string {
  const last =
    text
      .replace(/[?#].*$/, '')
      .split('/')
      .findLast((part) => part !== '') ?? '';
  const id = last
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 128);
  return id === '' ? 'unknown' : id;
}

/** Always the same one for the same text (RFC 9562, version 8), where an export has none of its own. */
export function derivedUuid(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex');
  const variant = ((Number.parseInt(hex.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(18, 20)}-${hex.slice(20, 32)}`;
}
