/** IPv4 addresses of simulated interfaces. */
import { simulatorErrors } from '../errors.ts';

export const ANY_ADDRESS = '0.0.0.0';
export const LIMITED_BROADCAST = '255.255.255.255';

export interface Subnet {
  readonly address: string;
  readonly prefixLength: number;
  /** Last address of the subnet, e.g. 192.0.2.255. */
  readonly broadcast: string;
  contains(address: string): boolean;
}

/** Reads `192.0.2.10/24`. Throws SIMULATOR_BAD_ADDRESS. */
export function parseSubnet(host: string, text: string): Subnet {
  const [address = '', length = ''] = text.split('/');
  const value = toNumber(address);
  const prefixLength = Number(length);
  if (value === undefined || !/^\d+$/.test(length) || prefixLength > 32)
    throw simulatorErrors.SIMULATOR_BAD_ADDRESS({ host, address: text });
  const hostMask = 2 ** (32 - prefixLength) - 1;
  const first = value - (value % (hostMask + 1));
  return {
    address,
    prefixLength,
    broadcast: toText(first + hostMask),
    contains(other) {
      const number = toNumber(other);
      return number !== undefined && number >= first && number <= first + hostMask;
    },
  };
}

export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1';
}

export function isIpv4(address: string): boolean {
  return toNumber(address) !== undefined;
}

function toNumber(address: string): number | undefined {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(address)?.slice(1).map(Number);
  if (!parts || parts.some((part) => part > 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

function toText(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}
