/** HMACs are made of two hashes: held to those of OpenSSL, and to RFC 2202 and RFC 4231. */
import { createHmac } from 'node:crypto';
import { cipherSuite, hmac } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

function suite(id: number) {
  const found = cipherSuite(id);
  if (!found) throw new Error(`no suite ${id}`);
  return found;
}

describe('hmac', () => {
  it.each([
    { name: 'RFC 2202, SHA-1, case 2', id: 3, code: 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79' },
    { name: 'RFC 4231, SHA-256, case 2', id: 17, code: '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843' },
  ])('$name', ({ id, code }) => {
    expect(hmac(suite(id), Buffer.from('Jefe'), Buffer.from('what do ya '), Buffer.from('want for nothing?')).toString('hex')).toBe(code);
  });

  it.each([
    { id: 3, algorithm: 'sha1' },
    { id: 17, algorithm: 'sha256' },
  ])("property: suite $id's is that of OpenSSL for any key, empty ones too, and any parts", ({ id, algorithm }) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 4 }), (key, parts) => {
        const expected = createHmac(algorithm, key).update(Buffer.concat(parts)).digest();
        expect(hmac(suite(id), key, ...parts)).toEqual(expected);
      }),
    );
  });

  it('has none for suite 0, and refuses keys that would have to be hashed first', () => {
    expect(hmac(suite(0), Buffer.from('key'), Buffer.from('data'))).toHaveLength(0);
    expect(() => hmac(suite(3), Buffer.alloc(65))).toThrow(RangeError);
  });
});
