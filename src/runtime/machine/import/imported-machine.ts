/** A machine as another system exported it, ready to be enrolled: pure data. */
import type { EnrolRequest } from '../nodes.ts';

export interface ImportedMachine {
  /** Without the password: exports mask it, or name a Secret. */
  readonly enrol: Omit<EnrolRequest, 'bmc'> & { readonly bmc: Omit<EnrolRequest['bmc'], 'password' | 'passwordRef'> };
  /** Where the password was kept, if the export says so: `namespace/name` of a Secret. */
  readonly credentials?: string;
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

/** A positive whole number of whatever an export wrote: a number, digits in a string. */
export function wholeNumber(value: unknown): number | undefined {
  const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  return typeof number === 'number' && Number.isSafeInteger(number) && number > 0 ? number : undefined;
}
