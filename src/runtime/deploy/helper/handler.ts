/**
 * The deploy-helper of port 10000: a deploy ramdisk posts that its disk is exported. Accepting a POST is only a compare-and-swap on the
 * machine's record; the image is written by the machine's owner, so an answer never waits for a disk.
 */
import type { Logger } from '../../core/logger.ts';
import type { HttpHandler, HttpResponse } from '../../core/network.ts';
import type { ClaimDeployment, ClaimOutcome } from './claim.ts';
import { canonicalAddress } from './ip-address.ts';
import { parsePost } from './parse-post.ts';

export interface DeployHelperOptions {
  readonly claimDeployment: ClaimDeployment;
  readonly logger: Logger;
}

/** The ramdisk sends some 300 bytes; `e` may be longer. */
const MAX_BODY_BYTES = 16_384;

export function deployHelper({ claimDeployment, logger }: DeployHelperOptions): HttpHandler {
  return async (request) => {
    if (request.method !== 'POST') return text(501, 'Not Implemented');
    if (request.body.length > MAX_BODY_BYTES) return text(413, 'the body is too large');
    const parsed = parsePost(request.body);
    const from = canonicalAddress(request.remote.address);
    if (parsed.kind === 'invalid') {
      logger.warn({ from, reason: parsed.reason }, 'deploy POST refused');
      return text(400, parsed.reason);
    }
    // The key goes into the claim and nowhere else (N15).
    const { id, key, address, iqn, port, lun, error } = parsed.post;
    const fields = { from, machine: id, iqn, port, lun };
    let outcome: ClaimOutcome;
    try {
      const claim = { id, key, address: canonicalAddress(address), remoteAddress: from, port, lun, iqn };
      outcome = await claimDeployment(error === undefined ? claim : { ...claim, error });
    } catch (failure) {
      logger.error({ ...fields, error: String(failure) }, 'deploy POST could not be recorded');
      return text(503, 'the deployment could not be recorded; try again');
    }
    if (outcome.kind === 'accepted')
      logger.info(fields, error === undefined ? 'deploy POST accepted' : 'deploy POST accepted: it reports an error');
    else logger.warn({ ...fields, outcome: outcome.kind }, 'deploy POST refused');
    return answer(outcome, id);
  };
}

function answer(outcome: ClaimOutcome, id: number): HttpResponse {
  switch (outcome.kind) {
    case 'accepted':
      return { status: 200, headers: { 'content-type': 'text/plain' }, body: '' };
    case 'unknown-node':
      return text(404, `there is no node ${id}`);
    case 'wrong-key':
      return text(400, 'key is not match');
    case 'used':
      return text(409, 'the key has been used already');
    case 'expired':
      return text(409, `the key expired at ${outcome.at}`);
    case 'not-waiting':
      return text(409, `the node does not wait for a deployment: it is ${outcome.state}`);
    case 'wrong-address':
      return text(400, outcome.reason);
    case 'wrong-target':
      return text(400, `the target's name is not ${outcome.expected}`);
  }
}

function text(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body };
}
