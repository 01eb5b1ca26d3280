/**
 * The word home of an instance that has started, on the deploy-helper's port:
 *
 *   POST /v1/phone-home/MACHINE     token=TOKEN, in the form or, for cloud-init's module, whose form is its own, in the query
 *
 * 200: noted. 403: no such token, or not from where the instance is. 409: nobody waits for it. 410: it has been used. A token is worth this one
 * answer, so there is nothing to gain from one that is read on its way.
 */
import type { Logger } from '../../core/logger.ts';
import type { HttpHandler, HttpResponse } from '../../core/network.ts';
import { canonicalAddress } from '../helper/ip-address.ts';
import type { AcceptPhoneHome, PhoneHomeOutcome } from './access.ts';

export const PHONE_HOME_PATH = '/v1/phone-home/';

export interface PhoneHomeOptions {
  readonly acceptPhoneHome: AcceptPhoneHome;
  readonly logger: Logger;
}

/** cloud-init sends the host's public keys with it when it is asked to: five of at most 1 KiB. */
const MOST_BYTES = 16 * 1024;

export function phoneHomeService({ acceptPhoneHome, logger }: PhoneHomeOptions): HttpHandler {
  return async ({ method, path, query, body, remote }) => {
    const number = /^\/v1\/phone-home\/(\d{1,15})$/.exec(path)?.[1];
    if (number === undefined) return text(404, 'there is nothing here');
    if (method !== 'POST') return text(405, 'POST');
    if (body.length > MOST_BYTES) return text(413, 'too much');
    const token = query.get('token') ?? new URLSearchParams(Buffer.from(body).toString('utf8')).get('token') ?? '';
    if (!/^[0-9a-f]{64}$/.test(token)) return text(403, 'the token is not valid');
    const remoteAddress = canonicalAddress(remote.address);
    const outcome = await acceptPhoneHome({ node: Number(number), token, remoteAddress });
    logger.info({ machine: Number(number), from: remoteAddress, outcome: outcome.kind }, 'an instance reports');
    return answer(outcome);
  };
}

function answer(outcome: PhoneHomeOutcome): HttpResponse {
  switch (outcome.kind) {
    case 'accepted':
      return text(200, '');
    case 'unknown-node':
    case 'wrong-token':
      // one answer for both: which machines there are is nobody's business
      return text(403, 'the token is not valid');
    case 'wrong-address':
      return text(403, outcome.reason);
    case 'used':
      return text(410, 'the token has been used');
    case 'not-waiting':
      return text(409, `nobody waits for it: the machine is ${outcome.state}`);
  }
}

function text(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' }, body };
}
