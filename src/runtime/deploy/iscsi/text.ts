/** The key=value text of login and text PDUs (RFC 7143 section 6): pairs that end with NUL, in one or several PDUs. */
import { PduError } from './pdu.ts';

/** More than any login or a SendTargets answer of a thousand targets needs. */
const LONGEST_TEXT_BYTES = 1024 * 1024;

export type TextKeys = ReadonlyMap<string, string>;

export function encodeText(pairs: Iterable<readonly [string, string]>): Uint8Array {
  let text = '';
  for (const [key, value] of pairs) text += `${key}=${value}\0`;
  return Buffer.from(text, 'utf8');
}

/** All pairs in order: SendTargets answers repeat keys. */
export function decodePairs(data: Uint8Array): [string, string][] {
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString('utf8');
  return text
    .split('\0')
    .filter((pair) => pair !== '')
    .map((pair): [string, string] => {
      const equals = pair.indexOf('=');
      if (equals < 1) throw new PduError('a text segment has a pair without a key');
      return [pair.slice(0, equals), pair.slice(equals + 1)];
    });
}

/** Pairs of a negotiation, in which no key may come twice (section 6.2). */
export function decodeKeys(data: Uint8Array): TextKeys {
  const keys = new Map<string, string>();
  for (const [key, value] of decodePairs(data)) {
    if (keys.has(key)) throw new PduError(`the key ${key.slice(0, 64)} came twice`);
    keys.set(key, value);
  }
  return keys;
}

/** Joins the text of PDUs that continue each other (the C bit). */
export class TextGatherer {
  private parts: Uint8Array[] = [];
  private bytes = 0;

  add(data: Uint8Array): void {
    this.bytes += data.length;
    if (this.bytes > LONGEST_TEXT_BYTES) throw new PduError(`more than ${LONGEST_TEXT_BYTES} bytes of text`);
    this.parts.push(data);
  }

  /** Everything gathered so far; begins anew. */
  take(): Uint8Array {
    const whole = this.parts.length === 1 && this.parts[0] ? this.parts[0] : Buffer.concat(this.parts);
    this.parts = [];
    this.bytes = 0;
    return whole;
  }
}

/** Numbers are decimal, or hexadecimal after 0x (section 6.1). Undefined for anything else. */
export function parseNumber(value: string): number | undefined {
  if (!/^(?:\d{1,10}|0[xX][0-9a-fA-F]{1,8})$/.test(value)) return undefined;
  return Number(value);
}

/** Binary values: 0x and hex digits, or 0b and base64. Undefined for anything else, or more than `longest` bytes. */
export function parseBinary(value: string, longest: number): Uint8Array | undefined {
  const digits = value.slice(2);
  let bytes: Buffer | undefined;
  if (/^0[xX](?:[0-9a-fA-F]{2})+$/.test(value)) bytes = Buffer.from(digits, 'hex');
  else if (/^0[xX][0-9a-fA-F]+$/.test(value)) bytes = Buffer.from(`0${digits}`, 'hex');
  else if (/^0[bB][A-Za-z0-9+/]+={0,2}$/.test(value)) bytes = Buffer.from(digits, 'base64');
  return bytes && bytes.length <= longest ? bytes : undefined;
}

export function formatBinary(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')}`;
}

/** iqn., eui. and naa. names (section 4.2.7). */
export function isIscsiName(name: string): boolean {
  if (name.length > 223) return false;
  return /^iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(?::[^\s\0A-Z]+)?$|^eui\.[0-9a-fA-F]{16}$|^naa\.(?:[0-9a-fA-F]{16}|[0-9a-fA-F]{32})$/.test(name);
}
