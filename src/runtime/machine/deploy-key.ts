/**
 * The deployment key: a nonce that the deploy ramdisk gets on its kernel command line and gives back in its POST. One use, short-lived,
 * bound to the machine's lease. The record holds its SHA-256; the key itself lies in the secret store under the deployment's id
 * until the ramdisk has been told "done", since the boot plane must put it on the command line and a restarted owner must know it.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { Secret } from 'cdk8s-baremetal-contract/secret';
import type { Random } from '../core/random.ts';

/** RFC 4648 base32, in upper case: the original's keys were [A-Z0-9] and ramdisks put them into a form unescaped. */
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** 52 characters that carry 256 bits (51.2 rounded up). */
export function newDeployKey(random: Random): Secret {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of random.bytes(32)) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += BASE32[(held >> bits) & 31];
    }
    held &= (1 << bits) - 1;
  }
  if (bits > 0) text += BASE32[(held << (5 - bits)) & 31];
  return new Secret(text);
}

export function deployKeyHash(key: Secret): string {
  return createHash('sha256').update(key.reveal()).digest('hex');
}

/** Compares in time that depends on nothing: both sides are digests of one length. */
export function keyMatches(key: Secret, hash: string | undefined): boolean {
  const wanted = hash === undefined ? Buffer.alloc(32) : Buffer.from(hash, 'hex');
  const equal = timingSafeEqual(createHash('sha256').update(key.reveal()).digest(), wanted);
  return equal && hash !== undefined;
}

/**
 * What proves to the ramdisk that "done" comes from us (N6): `printf 'done %s' "$DEPLOYMENT_KEY" | sha256sum` there. Whoever read the
 * key on the wire can compute it too; it stops the rest.
 */
export function doneToken(key: Secret): Secret {
  return new Secret(createHash('sha256').update(`done ${key.reveal()}`).digest('hex'));
}

/** The CHAP secret of this deployment's iSCSI session (N5): `printf 'chap %s' "$DEPLOYMENT_KEY" | sha256sum | cut -c1-32` there. */
export function chapSecret(key: Secret): Secret {
  return new Secret(createHash('sha256').update(`chap ${key.reveal()}`).digest('hex').slice(0, 32));
}

/**
 * The user name beside it: `bms-` and the session's id, with which the target's name ends. Not the id alone: LIO takes a name that begins with `0b` for a number
 * in base64 (since Linux 6.2, and in Debian's 6.1) and refuses it, which is every 256th id.
 */
export function chapUser(sessionId: string): string {
  return `bms-${sessionId}`;
}

/** Name of a deployment's key in the secret store. */
export function deployKeyName(deploymentId: string): string {
  return `deploy-key.${deploymentId}`;
}
