/**
 * How a machine's power is reached, as one address that people write and records keep.
 *
 *   ipmi://10.0.0.20:623?cipher=17&privilege=operator
 *   redfish://bmc-7.example:443/redfish/v1/Systems/1?sha256=6b86b2…       without a path: its only system; without sha256: the system's authorities
 *   iboot://10.0.0.30:9100/2                                  relay 2; nova's "10.0.0.30:9100,2" is read too
 *   virtual+ssh://ops@hypervisor:22/web-1?type=virsh&key=/etc/bms-core/id_ed25519&connect=qemu:///system
 *   virtual+exec:///web-1?type=program&program=/usr/local/sbin/lab-power
 *
 * A user name may stand in front of the host, a password never: addresses are logged.
 */
import { powerErrors } from './errors.ts';
import type { Privilege } from './power-manager.ts';

export interface IpmiTarget {
  readonly driver: 'ipmi';
  readonly address: string;
  readonly port?: number | undefined;
  readonly username?: string | undefined;
  readonly cipherSuite?: 0 | 1 | 2 | 3 | 17 | undefined;
  readonly privilege?: Privilege | undefined;
}

export interface IBootTarget {
  readonly driver: 'iboot';
  readonly address: string;
  readonly port: number;
  /** From 1. */
  readonly relay: number;
  readonly username?: string | undefined;
}

export const virtualTypes = ['virsh', 'vbox', 'program'] as const;
export type VirtualType = (typeof virtualTypes)[number];

export interface VirtualTarget {
  readonly driver: 'virtual';
  /** Absent: the commands run here. */
  readonly ssh?:
    | { readonly host: string; readonly port: number; readonly user?: string | undefined; readonly key?: string | undefined }
    | undefined;
  readonly machine: string;
  readonly type: VirtualType;
  /** Of type `program`: absolute path. */
  readonly program?: string | undefined;
  /** libvirt's URI. */
  readonly connect?: string | undefined;
}

export interface PowerUrlRedfish {
  readonly driver: 'redfish';
  readonly address: string;
  readonly port: number;
  readonly username?: string | undefined;
  /** Path of the system. Absent: the service's only one. */
  readonly system?: string | undefined;
  /** Of the one certificate that is trusted: 64 hexadecimal digits in lower case. */
  readonly sha256?: string | undefined;
}

export type PowerTarget = IpmiTarget | PowerUrlRedfish | IBootTarget | VirtualTarget;

export const IBOOT_PORT = 9100;
export const REDFISH_PORT = 443;
const SSH_PORT = 22;
const MOST_RELAYS = 32;
const CIPHERS = [0, 1, 2, 3, 17] as const;
const PRIVILEGES = ['user', 'operator', 'administrator'] as const;

/** Names that need no quotes anywhere and cannot be taken for an option. */
const MACHINE = /^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}$/;
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/;
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|[0-9a-fA-F:.]+)$/;
const PATH = /^\/[A-Za-z0-9_./+-]{1,254}$/;
const SYSTEM = /^\/redfish\/v1\/Systems\/[A-Za-z0-9_.:@-]{1,128}\/?$/;
const CONNECT = /^[a-z+]{1,20}:\/\/[A-Za-z0-9_.@:/-]{0,200}$/;

/** Is this text one of our addresses, rather than a machine's name or a bare IP address? */
export function isPowerUrl(text: string): boolean {
  return text.includes('://');
}

/** What a record keeps of a BMC, as one URL: the other way round than `parsePowerUrl`. */
export function powerUrlOf({
  driver,
  address,
  port,
}: {
  readonly driver: string;
  readonly address: string;
  readonly port?: number | undefined;
}): string {
  if (isPowerUrl(address)) return address;
  const host = driver !== 'iboot' && address.includes(':') ? `[${address}]` : address.replace(',', '/');
  return `${driver}://${host}${port === undefined ? '' : `:${port}`}`;
}

/** Throws POWER_URL. */
export function parsePowerUrl(text: string): PowerTarget {
  const fail = (problem: string): never => {
    // whatever stands where a password would is not repeated; one with / or @ in it is why many a URL cannot be read
    throw powerErrors.POWER_URL({ url: text.replace(/^([a-z+]*:\/\/)?.*@/is, '$1…@'), problem });
  };
  const url = URL.canParse(text) ? new URL(text) : fail('it cannot be read as a URL');
  if (url.password !== '') fail('a password may not stand in it');
  const decoded = (part: string): string => {
    try {
      return decodeURIComponent(part);
    } catch {
      return fail('a % begins no escape');
    }
  };
  const host = decoded(url.hostname).replace(/^\[(.*)\]$/, '$1');
  const port = url.port === '' ? undefined : Number(url.port);
  const username = url.username === '' ? undefined : decoded(url.username);
  const path = decoded(url.pathname.replace(/^\//, ''));
  const known = (...names: string[]): void => {
    for (const name of url.searchParams.keys()) if (!names.includes(name)) fail(`it knows no parameter "${name}"`);
  };
  const parameter = <T extends string>(name: string, allowed: readonly T[]): T | undefined => {
    const given = url.searchParams.get(name);
    if (given === null) return undefined;
    return allowed.find((one) => one === given) ?? fail(`${name} must be one of ${allowed.join(', ')}`);
  };
  const matching = (name: string, value: string | undefined, pattern: RegExp): string | undefined => {
    if (value !== undefined && !pattern.test(value)) fail(`${name} has characters that are not allowed`);
    return value;
  };
  switch (url.protocol) {
    case 'ipmi:': {
      known('cipher', 'privilege');
      if (host === '') fail('the address is missing');
      if (path !== '') fail('nothing may follow the address');
      const cipher = url.searchParams.get('cipher');
      const cipherSuite = CIPHERS.find((id) => String(id) === cipher);
      if (cipher !== null && cipherSuite === undefined) fail(`cipher must be one of ${CIPHERS.join(', ')}`);
      return { driver: 'ipmi', address: host, port, username, cipherSuite, privilege: parameter('privilege', PRIVILEGES) };
    }
    case 'iboot:': {
      known();
      if (!HOST.test(host)) fail('the address is missing');
      return { driver: 'iboot', address: host, port: port ?? IBOOT_PORT, relay: relayOf(path === '' ? '1' : path, fail), username };
    }
    case 'virtual+ssh:':
    case 'virtual+exec:': {
      known('type', 'program', 'connect', 'key');
      const remote = url.protocol === 'virtual+ssh:';
      if (remote && !HOST.test(host)) fail('the host is missing');
      if (!remote && host !== '') fail('it runs on this machine: write virtual+exec:///MACHINE');
      if (!MACHINE.test(path)) fail('the name of the machine is missing or has characters that are not allowed');
      const type = parameter('type', virtualTypes) ?? 'virsh';
      const program = matching('program', url.searchParams.get('program') ?? undefined, PATH);
      if ((type === 'program') !== (program !== undefined)) fail('program goes with type=program, and only there');
      const connect = matching('connect', url.searchParams.get('connect') ?? undefined, CONNECT);
      const key = matching('key', url.searchParams.get('key') ?? undefined, PATH);
      const ssh = remote ? { host, port: port ?? SSH_PORT, user: matching('the user', username, USER), key } : undefined;
      return { driver: 'virtual', ssh, machine: path, type, program, connect };
    }
    case 'redfish:': {
      known('sha256');
      if (!HOST.test(host)) fail('the address is missing');
      if (path !== '' && !SYSTEM.test(`/${path}`)) fail('after the address comes the path of a system: /redfish/v1/Systems/ID');
      const pin = (url.searchParams.get('sha256') ?? undefined)?.replaceAll(':', '').toLowerCase();
      if (pin !== undefined && !/^[0-9a-f]{64}$/.test(pin)) fail('sha256 must be 64 hexadecimal digits');
      const system = path === '' ? undefined : `/${path.replace(/\/$/, '')}`;
      return { driver: 'redfish', address: host, port: port ?? REDFISH_PORT, username, system, sha256: pin };
    }
    default:
      return fail(`it knows no scheme "${url.protocol.slice(0, -1)}"`);
  }
}

/** nova's form of an iBoot address: `address[:port][,relay]`. Throws POWER_URL. */
export function parseNovaIBoot(text: string, username: string | undefined): IBootTarget {
  const fail = (problem: string): never => {
    throw powerErrors.POWER_URL({ url: text, problem });
  };
  const [where = '', relay = '1', ...rest] = text.split(',');
  const [address = '', port = String(IBOOT_PORT), ...more] = where.split(':');
  if (rest.length > 0 || more.length > 0 || !HOST.test(address)) fail('it is not ADDRESS[:PORT][,RELAY]');
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65535) fail('the port must be a number up to 65535');
  return { driver: 'iboot', address, port: Number(port), relay: relayOf(relay, fail), username };
}

function relayOf(text: string, fail: (problem: string) => never): number {
  const relay = /^\d{1,2}$/.test(text) ? Number(text) : 0;
  return relay >= 1 && relay <= MOST_RELAYS ? relay : fail(`the relay must be a number from 1 to ${MOST_RELAYS}`);
}
