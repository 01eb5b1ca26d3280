/**
 * The cluster's own certificate authority, and the certificate that all of its services show. Node signs and reads certificates
 * but does not make them, so the few fields that these need are written in DER here (RFC 5280, X.690).
 */
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { parseIpv4 } from 'cdk8s-baremetal-contract/addresses';
import { isIpv6 } from 'cdk8s-baremetal-contract/config/network-types';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import { isoTime } from 'cdk8s-baremetal-runtime/core/iso-time';
import type { Random } from 'cdk8s-baremetal-runtime/core/random';

export interface KeyAndCertificate {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS #8. A secret. */
  readonly key: string;
}

export interface CertificateOptions {
  readonly clock: Clock;
  readonly random: Random;
}

const DAY_MS = 86_400_000;
const AUTHORITY_DAYS = 3650;
const SERVICE_DAYS = 365;
/** A service certificate is made anew this long before it ends. */
const RENEW_BEFORE_MS = 60 * DAY_MS;

export function makeAuthority(commonName: string, options: CertificateOptions): KeyAndCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = distinguishedName(commonName);
  const extensions = [
    extension(OID.basicConstraints, true, sequence(TRUE)),
    extension(OID.keyUsage, true, tlv(0x03, Buffer.from([1, 0b00000110]))), // keyCertSign, cRLSign
    extension(OID.subjectKeyIdentifier, false, tlv(0x04, keyIdentifier(publicKey))),
  ];
  const certificate = issue({ subject: name, issuer: name, publicKey, signer: privateKey, days: AUTHORITY_DAYS, extensions }, options);
  return { certificate, key: pem(privateKey) };
}

/** For TLS servers and clients under these names and addresses. The authority may be people's own, of any name and with any key that `SIGNING` has. */
export function makeServiceCertificate(
  authority: KeyAndCertificate,
  names: readonly string[],
  options: CertificateOptions,
): KeyAndCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issuer = readAuthority(authority.certificate);
  const extensions = [
    extension(OID.basicConstraints, true, sequence()),
    extension(OID.keyUsage, true, tlv(0x03, Buffer.from([7, 0b10000000]))), // digitalSignature
    extension(OID.extendedKeyUsage, false, sequence(oid(OID.serverAuth), oid(OID.clientAuth))),
    extension(OID.subjectAlternativeName, false, sequence(...names.map(generalName))),
    ...(issuer.keyIdentifier ? [extension(OID.authorityKeyIdentifier, false, sequence(tlv(0x80, issuer.keyIdentifier)))] : []),
  ];
  const signer = createPrivateKey(authority.key);
  const subject = distinguishedName((names[0] ?? 'service').slice(0, 64));
  const issued = issue({ subject, issuer: issuer.subject, publicKey, signer, days: SERVICE_DAYS, extensions }, options);
  return { certificate: issued, key: pem(privateKey) };
}

/** Whether a certificate still serves: signed by this authority, for all these names, for long enough. */
export function stillServes(certificate: string, authority: string, names: readonly string[], clock: Clock): boolean {
  try {
    const parsed = new X509Certificate(certificate);
    if (!parsed.verify(new X509Certificate(authority).publicKey)) return false;
    if (parsed.validToDate.getTime() - clock.now() < RENEW_BEFORE_MS) return false;
    const held = (parsed.subjectAltName ?? '').split(', ');
    return names.every((name) => (isAddress(name) ? parsed.checkIP(name) !== undefined : held.includes(`DNS:${name}`)));
  } catch {
    return false; // not a certificate
  }
}

const OID = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  ed25519: '1.3.101.112',
  sha256WithRsa: '1.2.840.113549.1.1.11',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

interface Issuer {
  /** As it stands in the certificate, whatever it consists of. */
  readonly subject: Buffer;
  /** Of the extension; a verifier compares them. Undefined: it has none. */
  readonly keyIdentifier: Buffer | undefined;
}

/** RFC 5280, 4.1: version and extensions are optional, and have tags of their own. */
function readAuthority(certificate: string): Issuer {
  const [whole] = elements(new X509Certificate(certificate).raw);
  const [body] = elements(whole?.value);
  const fields = elements(body?.value).filter(({ tag }) => tag !== 0xa0);
  const [extensions] = elements(fields.find(({ tag }) => tag === 0xa3)?.value);
  const found = elements(extensions?.value)
    .map(({ value }) => elements(value))
    .find(([id]) => id?.whole.equals(oid(OID.subjectKeyIdentifier)));
  const subject = fields[4]?.whole; // after serial, algorithm, issuer and validity
  if (subject === undefined) throw new RangeError('the certificate of the authority has no subject');
  return { subject, keyIdentifier: elements(found?.at(-1)?.value)[0]?.value };
}

interface Element {
  readonly tag: number;
  readonly value: Buffer;
  readonly whole: Buffer;
}

/** One after the other, as DER has them. */
function elements(der: Buffer = Buffer.alloc(0)): Element[] {
  const found: Element[] = [];
  for (let at = 0; at + 2 <= der.length; ) {
    const first = der.readUInt8(at + 1);
    const more = first < 0x80 ? 0 : first & 0x7f; // bytes of the length itself
    const start = at + 2 + more;
    const end = start + (more === 0 ? first : der.readUIntBE(at + 2, more));
    found.push({ tag: der.readUInt8(at), value: der.subarray(start, end), whole: der.subarray(at, end) });
    at = end;
  }
  return found;
}

interface Request {
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly days: number;
  readonly extensions: readonly Buffer[];
}

function issue({ subject, issuer, publicKey, signer, days, extensions }: Request, { clock, random }: CertificateOptions): string {
  const signing = SIGNING[signer.asymmetricKeyType ?? ''];
  if (signing === undefined) throw new RangeError(`a key of the type ${signer.asymmetricKeyType} signs nothing here`);
  const { digest, algorithm } = signing;
  const serial = Buffer.from(random.bytes(16));
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40; // positive, and never a leading zero
  const notBefore = clock.now() - 300_000; // the nodes' clocks may be behind
  const body = sequence(
    tlv(0xa0, tlv(0x02, Buffer.from([2]))), // v3
    tlv(0x02, serial),
    algorithm,
    issuer,
    sequence(time(notBefore), time(clock.now() + days * DAY_MS)),
    subject,
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(...extensions)),
  );
  const signature = sign(digest, body, signer);
  const der = sequence(body, algorithm, tlv(0x03, Buffer.from([0]), signature));
  return `-----BEGIN CERTIFICATE-----\n${(der.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;
}

function tlv(tag: number, ...content: readonly Buffer[]): Buffer {
  const value = Buffer.concat(content);
  const { length } = value;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]; // < 64 KiB
  return Buffer.concat([Buffer.from([tag, ...head]), value]);
}

function sequence(...content: readonly Buffer[]): Buffer {
  return tlv(0x30, ...content);
}

const TRUE = tlv(0x01, Buffer.from([0xff]));

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = rest.flatMap((part) => {
    const groups = [part & 0x7f];
    for (let left = part >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80);
    return groups;
  });
  return tlv(0x06, Buffer.from([first * 40 + second, ...bytes]));
}

/** By the type of the authority's key. RFC 4055, 5: RSA's parameters are NULL; RFC 8410, 3: Ed25519 has none, and no digest of its own. */
const SIGNING: Readonly<Record<string, { readonly digest: string | null; readonly algorithm: Buffer }>> = {
  ec: { digest: 'sha256', algorithm: sequence(oid(OID.ecdsaWithSha256)) },
  rsa: { digest: 'sha256', algorithm: sequence(oid(OID.sha256WithRsa), tlv(0x05)) },
  ed25519: { digest: null, algorithm: sequence(oid(OID.ed25519)) },
};

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [TRUE] : []), tlv(0x04, value));
}

function distinguishedName(commonName: string): Buffer {
  return sequence(tlv(0x31, sequence(oid(OID.commonName), tlv(0x0c, Buffer.from(commonName)))));
}

function generalName(name: string): Buffer {
  return isAddress(name) ? tlv(0x87, addressBytes(name)) : tlv(0x82, Buffer.from(name, 'latin1'));
}

/** RFC 5280, 4.2.1.2, method 1: SHA-1 of the key's bits, which are an EC key's last 65 bytes. */
function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }).subarray(-65))
    .digest();
}

/** UTCTime until 2049, GeneralizedTime from 2050 on. */
function time(ms: number): Buffer {
  const digits = `${isoTime(ms).slice(0, 19).replace(/\D/g, '')}Z`;
  return digits < '2050' ? tlv(0x17, Buffer.from(digits.slice(2))) : tlv(0x18, Buffer.from(digits));
}

function isAddress(name: string): boolean {
  return parseIpv4(name) !== undefined || isIpv6(name);
}

function addressBytes(address: string): Buffer {
  if (!isIpv6(address)) return Buffer.from(address.split('.').map(Number));
  const { hostname } = new URL(`http://[${address}]`); // shortened, and without dots at its end
  const [left = [], right = []] = hostname
    .slice(1, -1)
    .split('::')
    .map((half) => half.split(':').flatMap((group) => (group === '' ? [] : [Number.parseInt(group, 16)])));
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => 0);
  return Buffer.from([...left, ...zeros, ...right].flatMap((group) => [group >> 8, group & 0xff]));
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}
