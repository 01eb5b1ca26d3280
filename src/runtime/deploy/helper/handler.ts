/**
 * The deploy-helper of port 10000: a deploy ramdisk posts that its disk is exported. Accepting a POST is only a compare-and-swap on the
 * machine's record; the image is written by the machine's owner, so an answer never waits for a disk.
 */
import type { Logger } from '../../core/logger.ts';
import type { HttpHandler, HttpRequest, HttpResponse } from '../../core/network.ts';
import type { ClaimDeployment, ClaimOutcome } from './claim.ts';
import { canonicalAddress } from './ip-address.ts';
import { parsePost } from './parse-post.ts';
import { type AcceptReport, parseReport, RAMDISK_REPORT_PATH, type ReportOutcome } from './ramdisk-report.ts';

export interface DeployHelperOptions {
  readonly claimDeployment: ClaimDeployment;
  /** For ramdisks that inspect or rescue; without it their POSTs are answered 404. */
  readonly acceptReport?: AcceptReport;
  readonly logger: Logger;
}

/** The ramdisk sends some 300 bytes; `e` may be longer. */
const MAX_BODY_BYTES = 16_384;
/** Facts of a machine with hundreds of disks and interfaces. */
const MAX_REPORT_BYTES = 262_144;

export function deployHelper({ claimDeployment, acceptReport, logger }: DeployHelperOptions): HttpHandler {
  return async (request) => {
    if (request.method !== 'POST') return text(501, 'Not Implemented');
    if (request.path === RAMDISK_REPORT_PATH) return report(request, acceptReport, logger);
    if (request.body.length > MAX_BODY_BYTES) return text(413, 'the body is too large');
    const parsed = parsePost(request.body);
    const from = canonicalAddress(request.remote.address);
    if (parsed.kind === 'invalid') {
      logger.warn({ from, reason: parsed.reason }, 'deploy POST refused');
      return text(400, parsed.reason);
    }
    // The key goes into the claim and nowhere else (N15).
    const { id, key, address, iqn, port, lun, disk, error } = parsed.post;
    const fields = { from, machine: id, iqn, port, lun };
    let outcome: ClaimOutcome;
    try {
      const claim = { id, key, address: canonicalAddress(address), remoteAddress: from, port, lun, iqn, ...(disk && { disk }) };
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

async function report(request: HttpRequest, acceptReport: AcceptReport | undefined, logger: Logger): Promise<HttpResponse> {
  if (acceptReport === undefined) return text(404, 'reports are not taken here');
  if (request.body.length > MAX_REPORT_BYTES) return text(413, 'the body is too large');
  const parsed = parseReport(request.body);
  const from = canonicalAddress(request.remote.address);
  if (parsed.kind === 'invalid') {
    logger.warn({ from, reason: parsed.reason }, 'ramdisk report refused');
    return text(400, parsed.reason);
  }
  const fields = { from, machine: parsed.report.id };
  let outcome: ReportOutcome;
  try {
    outcome = await acceptReport({ ...parsed.report, remoteAddress: from });
  } catch (failure) {
    logger.error({ ...fields, error: String(failure) }, 'ramdisk report could not be recorded');
    return text(503, 'the report could not be recorded; try again');
  }
  if (outcome.kind !== 'accepted') logger.warn({ ...fields, outcome: outcome.kind }, 'ramdisk report refused');
  else logger.info(fields, 'ramdisk report accepted');
  switch (outcome.kind) {
    case 'accepted':
      return {
        status: 200,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ authorizedKeys: outcome.authorizedKeys }),
      };
    case 'wrong-purpose':
      return text(409, `the ramdisk was started for: ${outcome.purpose}`);
    case 'facts-missing':
      return text(400, '"facts" is missing');
    default:
      return answer(outcome, parsed.report.id);
  }
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
    case 'wrong-method':
      return text(400, `the deployment's method is ${outcome.expected}: start the ramdisk that the command line is for`);
  }
}

function text(status: number, body: string): HttpResponse {
  return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body };
}
