/** Option types for ports, addresses, host names and URIs, as strict as oslo.config's. */
import * as z from 'zod';
import { parseIpv4, parseSubnet } from '../addresses.ts';
import { integerCodec, line, refuse, single, type TextCodec, type ValueType } from './value-types.ts';

/** A TCP or UDP port; 0 (any free one) only where `min` allows it, oslo's limit being 0 to 65535. */
export function port(limits: { min?: number; max?: number } = {}): ValueType<number> {
  const { min = 0, max = 65535 } = limits;
  return single(`port from ${min} to ${max}`, integerCodec({ min, max }));
}

/** An IPv4 or IPv6 address as inet_pton takes it: no zone, no leading zeros, no short forms. */
export function ipAddress(limits: { version?: 4 | 6 } = {}): ValueType<string> {
  const { version } = limits;
  const name = version === undefined ? 'IP address' : `IPv${version} address`;
  const valid = (text: string) => (version !== 6 && parseIpv4(text) !== undefined) || (version !== 4 && isIpv6(text));
  return checked(name, valid, `is not an ${name}`);
}

/** An IPv4 network as address/prefix length with the host bits zero, e.g. 192.168.50.0/24. */
export function cidr(): ValueType<string> {
  return checked('IPv4 network', (text) => parseSubnet(text) !== undefined, 'is not a network such as 192.168.50.0/24');
}

/** An IP address or a host name (RFC 1123; letters, digits and hyphens); a final dot is dropped. */
export function hostAddress(): ValueType<string> {
  const reason = 'is neither an IP address nor a host name';
  const codec: TextCodec<string> = z.codec(z.string(), line().refine(isHostAddress, { error: reason }), {
    decode: (text, context) => (isHostAddress(text) ? text.replace(/\.$/, '') : refuse(context, text, reason)),
    encode: (value) => value,
  });
  return single('IP address or host name', codec);
}

/** An absolute URI with a host (RFC 3986); `schemes` limits which. */
export function uri(limits: { schemes?: readonly string[] } = {}): ValueType<string> {
  const { schemes } = limits;
  const kind = schemes === undefined ? 'URI' : `${schemes.join(' or ')} URI`;
  const valid = (text: string) => {
    const scheme = uriScheme(text);
    return scheme !== undefined && (schemes?.includes(scheme.toLowerCase()) ?? true);
  };
  return checked(kind, valid, `is no ${kind} with a host`);
}

export function isIpv6(text: string): boolean {
  return z.ipv6().safeParse(text).success;
}

export function isHostAddress(text: string): boolean {
  if (parseIpv4(text) !== undefined || isIpv6(text)) return true;
  if (text === '' || text.length > 253) return false;
  const labels = text.replace(/\.$/, '').split('.');
  // A last label of digits alone would be a mistyped IPv4 address.
  return labels.every((label) => /^(?!-)[a-z0-9-]{1,63}(?<!-)$/i.test(label)) && /[a-z-]/i.test(labels.at(-1) ?? '');
}

/** The scheme of a URI whose scheme, host and path are valid and present, else undefined. */
function uriScheme(text: string): string | undefined {
  const [, scheme, authority = '', path = ''] = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(?:\?[^#]*)?(?:#.*)?$/i.exec(text) ?? [];
  if (scheme === undefined) return undefined;
  const [, host = ''] =
    /^(?:(?:[\w.~!$&'()*+,;=:-]|%[0-9a-f]{2})*@)?(\[[^\]]*\]|(?:[\w.~!$&'()*+,;=-]|%[0-9a-f]{2})*)(?::\d*)?$/i.exec(authority) ?? [];
  const validHost = host.startsWith('[') ? isIpv6(host.slice(1, -1)) : host !== '';
  return validHost && /^(?:[\w.~!$&'()*+,;=:@/-]|%[0-9a-f]{2})*$/i.test(path) ? scheme : undefined;
}

function checked(name: string, valid: (text: string) => boolean, reason: string): ValueType<string> {
  const codec: TextCodec<string> = z.codec(z.string(), line().refine(valid, { error: reason }), {
    decode: (text) => text,
    encode: (value) => value,
  });
  return single(name, codec);
}
