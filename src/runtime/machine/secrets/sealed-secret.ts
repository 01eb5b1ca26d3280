/**
 * A secret as the store keeps it: encrypted under a key of its own, and that key under one of the key file's (envelope encryption, AES-256-GCM, NIST
 * SP 800-38D). Changing the file's key writes 32 bytes anew per secret and decrypts none. Pure but for the randomness passed in.
 *
 * Both layers are bound to the secret's name, which carries the machine's or the deployment's id: whoever may write to the database cannot give one
 * machine the password of another. That an older value of the same name is put back is not noticed.
 */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import { z } from 'zod';
import type { Random } from '../../core/random.ts';
import type { Kind } from '../../store/index.ts';
import { secretErrors } from './errors.ts';

export interface SecretKey {
  /** Says which key it is, and nothing about it: 64 bits of an HMAC under it. */
  readonly id: string;
  /** Prints as nothing. */
  readonly key: KeyObject;
}

const sealed = z.object({
  /** Of the key that `wrapped` is encrypted under. */
  keyId: z.string().min(1),
  /** IV, ciphertext and tag in base64: of this secret's own key, and of its value. */
  wrapped: z.base64(),
  value: z.base64(),
});
export type SealedSecret = z.infer<typeof sealed>;
export const secretKind: Kind<SealedSecret> = { name: 'secret', parse: (record) => sealed.parse(record) };

export const KEY_BYTES = 32;
const IV_BYTES = 12; // SP 800-38D section 8.2: 96 bits
const TAG_BYTES = 16;

export function secretKey(bytes: Uint8Array): SecretKey {
  const id = createHmac('sha256', bytes).update('which key').digest('hex').slice(0, 16);
  return { id, key: createSecretKey(bytes) };
}

export function seal(name: string, value: Secret, { id, key }: SecretKey, random: Random): SealedSecret {
  const own = random.bytes(KEY_BYTES);
  const wrapped = encrypt(key, own, wrapContext(name, id), random);
  return { keyId: id, wrapped, value: encrypt(createSecretKey(own), Buffer.from(value.reveal()), valueContext(name), random) };
}

/** SECRET_DAMAGED when it is not what was sealed under this name. */
export function open(name: string, { wrapped, value }: SealedSecret, key: SecretKey): Secret {
  const own = createSecretKey(decrypt(name, key.key, wrapped, wrapContext(name, key.id)));
  return new Secret(Buffer.from(decrypt(name, own, value, valueContext(name))).toString());
}

/** The same secret under another key of the file. */
export function rewrap(name: string, record: SealedSecret, from: SecretKey, to: SecretKey, random: Random): SealedSecret {
  const own = decrypt(name, from.key, record.wrapped, wrapContext(name, from.id));
  return { ...record, keyId: to.id, wrapped: encrypt(to.key, own, wrapContext(name, to.id), random) };
}

function wrapContext(name: string, keyId: string): string {
  return `key\0${keyId}\0${name}`;
}

function valueContext(name: string): string {
  return `value\0${name}`;
}

function encrypt(key: KeyObject, plain: Uint8Array, context: string, random: Random): string {
  const iv = random.bytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(context));
  return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString('base64');
}

function decrypt(name: string, key: KeyObject, text: string, context: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64');
  try {
    const cipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES });
    cipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(-TAG_BYTES));
    return Buffer.concat([cipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES)), cipher.final()]);
  } catch {
    throw secretErrors.SECRET_DAMAGED({ name });
  }
}
