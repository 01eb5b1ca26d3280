import { withDeadline } from '../../core/clock.ts';
import { deployKeyName } from '../deploy-key.ts';
import { machineErrors } from '../errors.ts';
import type { Handler, HandlerContext } from '../handler.ts';
import type { NodeRecord } from '../node-record.ts';
import { phoneHomeName } from '../phone-home.ts';
import { reasonOf } from '../reason-of.ts';
import { done, proceed, retry } from '../results.ts';
import { cleanText } from '../transition.ts';
import { withoutRamdisk } from './ramdisk-work.ts';

type CleanupStep = (context: HandlerContext, signal: AbortSignal) => Promise<unknown>;

/** The original's order. All of it runs, whatever fails in it (N11), in a failed spawn as in a destroy. */
export const cleanupSteps: readonly { readonly name: string; readonly run: CleanupStep }[] = [
  { name: 'deactivate node', run: revokeKey },
  { name: 'power off', run: ({ node, ports }, signal) => ports.power.ensureOff(node, signal) },
  { name: 'deactivate bootloader', run: ({ node, ports }, signal) => ports.bootloader.deactivate(node, signal) },
  { name: 'release images', run: ({ node, ports }, signal) => ports.images.release(node, signal) },
  { name: 'detach volumes', run: ({ node, ports }, signal) => ports.volumes.detach(node, signal) },
  { name: 'stop firewall', run: ({ node, ports }, signal) => ports.firewall.stop(node, signal) },
  { name: 'unplug vifs', run: ({ node, ports }, signal) => ports.vifs.unplug(node, signal) },
];

/**
 * Leaves nothing of the instance behind. When a step fails the others still run, and then the whole list again, later: each step is idempotent.
 * The association is given up only when all of it succeeded; otherwise the machine ends in `error` with it, for a person to see.
 */
export const cleanup: Handler = async (context) => {
  const { node, clock, settings, signal } = context;
  const errors: string[] = [];
  // A machine that was only looked at is not touched: somebody else's load may run on it.
  const begun = node.instance !== undefined || node.ramdisk !== undefined;
  for (const { name, run } of begun ? cleanupSteps : []) {
    const tooLong = (): Error => machineErrors.MACHINE_STEP_TIMEOUT({ step: name, seconds: settings.cleanupStepMs / 1000 });
    try {
      await withDeadline(clock, settings.cleanupStepMs, tooLong, (stepSignal) => run(context, stepSignal), signal);
    } catch (error) {
      if (signal.aborted) throw error;
      errors.push(cleanText(`${name}: ${reasonOf(error)}`));
    }
  }
  if (errors.length === 0) {
    if (node.instance === undefined) {
      // A failed inspection, cleaning or verification: nothing of it is left, and a person decides, unless one has already.
      const change = (latest: NodeRecord): NodeRecord => ({ ...withoutRamdisk(latest), cleanup: undefined, recover: undefined });
      return node.recover ? done('verifying', 'cleaned up; to be verified again', change) : proceed(undefined, change);
    }
    const why = node.state === 'deleting' || node.lastFailure === undefined ? 'destroyed' : `cleaned up after: ${node.lastFailure.reason}`;
    const at = clock.now();
    return done('deleted', why, (latest) => ({ ...withoutInstance(latest), power: { state: 'off', at } }));
  }
  await context.report((latest) => ({
    ...latest,
    cleanup: { errors, gaveUp: false },
    ...(latest.lastFailure && { lastFailure: { ...latest.lastFailure, cleanupErrors: errors } }),
  }));
  return retry(`cleanup: ${errors.join('; ')}`);
};

/** First of all the key dies, so that no POST can start what is being torn down. */
async function revokeKey({ node, ports, report }: HandlerContext): Promise<void> {
  const { deployment, ramdisk } = node;
  if (deployment?.keyHash !== undefined || ramdisk?.keyHash !== undefined || deployment?.phoneHome?.tokenHash !== undefined) {
    await report((latest) => ({
      ...latest,
      deployment: latest.deployment && { ...latest.deployment, keyHash: undefined, phoneHome: undefined },
      ramdisk: latest.ramdisk && { ...latest.ramdisk, keyHash: undefined },
    }));
  }
  for (const session of [deployment, ramdisk]) if (session !== undefined) await ports.secrets.remove(deployKeyName(session.id));
  // also where the record names it no more: an earlier try may have come so far and no further
  if (deployment !== undefined) await ports.secrets.remove(phoneHomeName(deployment.id));
}

export function withoutInstance(node: NodeRecord): NodeRecord {
  return {
    ...withoutRamdisk(node),
    instance: undefined,
    deployment: undefined,
    targetState: undefined,
    cleanup: undefined,
    lease: undefined,
    // what was wrong with the instance goes with it; a BMC that does not answer stays
    fault: node.fault?.kind === 'bmc unreachable' ? node.fault : undefined,
    interfaces: node.interfaces.map(({ vif, ...known }) => known),
  };
}
