/**
 * Inspection, cleaning and rescue: a ramdisk is started as for a deployment, with a key of its own that it may use once, and then something
 * else is done with it. Each step is idempotent, and the one to do next is on the record.
 */
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { chapSecret, chapUser, deployKeyHash, deployKeyName } from '../deploy-key.ts';
import type { RamdiskSession } from '../deployment-record.ts';
import { wrongDiskToErase } from '../disk-guard.ts';
import type { Handler, HandlerContext } from '../handler.ts';
import { compareFacts, withFacts } from '../inspection.ts';
import type { NodeRecord, NodeState } from '../node-record.ts';
import type { DeployTarget } from '../ports.ts';
import { progressReporter } from '../progress.ts';
import { mintKey, newSession } from '../ramdisk-session.ts';
import { type Change, done, failed, proceed, type StepResult, waitFor } from '../results.ts';
import { keepPowered, powerOnFromNetwork } from './network-boot.ts';

const workSteps = [
  'cache ramdisk',
  'activate bootloader',
  'power off',
  'power on',
  'wait for the ramdisk',
  'work',
  'power off again',
] as const;
type WorkStep = (typeof workSteps)[number];

interface Work {
  readonly purpose: RamdiskSession['purpose'];
  /** Once the ramdisk has reported. */
  readonly work: (context: HandlerContext, session: RamdiskSession) => Promise<StepResult>;
  /** After the machine was shut down again. */
  readonly end: { readonly next: NodeState; readonly reason: string };
}

export const inspecting = ramdiskWork({
  purpose: 'inspect',
  end: { next: 'manageable', reason: 'inspected' },
  work: async ({ node, clock }, { facts }) => {
    if (facts === undefined) return failed('the ramdisk exported its disk in place of posting facts: it does not know bms_action=inspect');
    const differences = compareFacts(node, facts);
    const at = clock.now();
    return proceed('power off again', (latest) => withoutTodo(withFacts(latest, facts, differences, at), 'inspect'));
  },
});

export const cleaning = ramdiskWork({
  purpose: 'clean',
  end: { next: 'manageable', reason: 'cleaned' },
  work: async (context, session) => {
    const { node, ports, signal } = context;
    // Whatever the table says, a disk of somebody's instance is not erased.
    if (node.instance !== undefined) return failed('the machine carries an instance; nothing was erased');
    if (session.claim === undefined || session.claim.port === 0) return failed('the ramdisk did not export its disk');
    const key = await context.secret(deployKeyName(session.id));
    const target = targetOf(node, session, session.claim, key);
    const disk = await ports.deployer.identify(target, signal);
    const wrong = wrongDiskToErase(node, disk);
    if (wrong !== undefined) return failed(wrong);
    // Also the fence: whoever lost the machine to another replica stops here, before the first byte.
    await context.report((latest) => ({ ...latest, installed: undefined }));
    const reporter = progressReporter(context, (latest, progress) =>
      latest.ramdisk === undefined ? latest : { ...latest, ramdisk: { ...latest.ramdisk, progress } },
    );
    const stillOurs = async (): Promise<void> => {
      await context.report((latest) => latest);
    };
    const hooks = { disk, onProgress: reporter.tell, stillOurs };
    await ports.deployer.erase(target, node.wipe ?? 'metadata', hooks, signal).finally(reporter.settled);
    return proceed('power off again', (latest) => withoutTodo({ ...latest, wipe: undefined }, 'clean'));
  },
});

export const rescuing = ramdiskWork({
  purpose: 'rescue',
  end: { next: 'unrescuing', reason: 'not used' },
  work: async (_context, { claim }) =>
    claim === undefined || claim.port !== 0
      ? failed('the ramdisk exported its disk in place of a report: it does not know bms_action=rescue')
      : done('rescue', `the rescue ramdisk is up at ${claim.address}`),
});

/** Back to the instance: the ramdisk's key dies, and the machine starts from its own disk, or over the network where its kernel comes from there. */
export const unrescuing: Handler = async ({ node, ports, signal, clock, logger }) => {
  if (node.ramdisk !== undefined) await ports.secrets.remove(deployKeyName(node.ramdisk.id));
  await ports.power.ensureOff(node, signal);
  const byKernel = node.deployment?.image.boot === 'kernel';
  try {
    await ports.power.setBootDevice(node, byKernel ? 'pxe' : 'disk', { persistent: !byKernel }, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    logger.warn({ error: String(error) }, 'the boot device could not be set; the boot loader decides alone');
  }
  await ports.power.ensureOn(node, signal);
  const at = clock.now();
  return done('active', `${node.instance?.name ?? 'the instance'} is powered on again`, (latest) => ({
    ...withoutRamdisk(latest),
    power: { state: 'on', at },
  }));
};

export function withoutRamdisk(node: NodeRecord): NodeRecord {
  return { ...node, ramdisk: undefined, authorizedKeys: undefined };
}

function ramdiskWork({ purpose, work, end }: Work): Handler {
  const steps: Readonly<Record<WorkStep, (context: HandlerContext, session: RamdiskSession) => Promise<StepResult>>> = {
    'cache ramdisk': async ({ node, ports, signal }) => {
      await ports.images.cacheRamdisk(node, signal);
      return proceed('activate bootloader');
    },
    'activate bootloader': async (context, session) => {
      const key = await mintKey(context, session.id);
      await context.ports.bootloader.activate(context.node, key, context.signal);
      return proceed('power off', withRamdisk({ keyHash: deployKeyHash(key) }));
    },
    'power off': async ({ node, ports, signal, clock, settings }) => {
      await ports.power.ensureOff(node, signal);
      return proceed('power on', withRamdisk({ expiresAt: clock.now() + settings.pxeDeployTimeoutMs }));
    },
    'power on': async (context, session) => {
      const { clock, settings } = context;
      if (session.claim === undefined && session.reportedError === undefined) await powerOnFromNetwork(context);
      return proceed('wait for the ramdisk', withRamdisk({ expiresAt: clock.now() + settings.pxeDeployTimeoutMs }));
    },
    'wait for the ramdisk': async (context, session) => {
      if (session.reportedError !== undefined) return failed(`the ramdisk reported: ${session.reportedError}`);
      return session.claim === undefined ? waitFor(await keepPowered(context)) : proceed('work');
    },
    work,
    'power off again': async ({ node, ports, signal, clock }, session) => {
      await ports.power.ensureOff(node, signal);
      await ports.bootloader.deactivate(node, signal);
      await ports.images.release(node, signal);
      await ports.secrets.remove(deployKeyName(session.id));
      const at = clock.now();
      return done(end.next, end.reason, (latest) => ({ ...withoutRamdisk(latest), power: { state: 'off', at } }));
    },
  };
  return async (context) => {
    const { ramdisk } = context.node;
    if (ramdisk?.purpose !== purpose) {
      const session = newSession(context, purpose);
      return proceed('cache ramdisk', (latest) => ({ ...latest, ramdisk: session }));
    }
    const step = workSteps.find((name) => name === context.node.step);
    return step === undefined ? proceed('cache ramdisk') : steps[step](context, ramdisk);
  };
}

function targetOf(node: NodeRecord, session: RamdiskSession, claim: NonNullable<RamdiskSession['claim']>, key: Secret): DeployTarget {
  return {
    nodeUuid: node.uuid,
    deploymentId: session.id,
    generation: 0,
    epoch: node.epoch,
    address: claim.address,
    port: claim.port,
    lun: claim.lun,
    iqn: session.iqn,
    chap: { username: chapUser(session.id), secret: chapSecret(key) },
  };
}

function withRamdisk(part: Partial<RamdiskSession>): Change {
  return (latest) => (latest.ramdisk === undefined ? latest : { ...latest, ramdisk: { ...latest.ramdisk, ...part } });
}

function withoutTodo(node: NodeRecord, what: NodeRecord['todo'][number]): NodeRecord {
  return { ...node, todo: node.todo.filter((item) => item !== what) };
}
