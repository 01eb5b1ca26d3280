import { deployKeyName, doneToken } from '../deploy-key.ts';
import { machineErrors } from '../errors.ts';
import type { Handler, HandlerContext } from '../handler.ts';
import type { NodeRecord, TimelineEvent } from '../node-record.ts';
import { noPhoneHome, phoneHomeName } from '../phone-home.ts';
import { maybeTold } from '../ramdisk-notifier.ts';
import { done, failed, proceed, type StepResult, waitFor } from '../results.ts';

const completeSteps = [
  'switch bootloader',
  'tell the ramdisk',
  'restart',
  'watch the first boot',
  'see whether it boots',
  'wait for its word',
] as const;
type CompleteStep = (typeof completeSteps)[number];

/** Connections refused in a row before the ramdisk is taken for gone. */
const NOTIFY_ATTEMPTS = 3;

/**
 * The image is on the disk and checked. First the boot loader is switched and only then is the ramdisk let go: the other way round, a quick
 * machine would boot into a second deployment.
 */
export const deployComplete: Handler = async (context) => {
  if (context.node.deployment?.written === undefined) return failed('the written image is not on record');
  const step = completeSteps.find((name) => name === context.node.step);
  return step === undefined ? proceed('switch bootloader') : steps[step](context);
};

const steps: Readonly<Record<CompleteStep, (context: HandlerContext) => Promise<StepResult>>> = {
  'switch bootloader': async ({ node, ports, signal, logger }) => {
    await ports.bootloader.switchToBoot(node, signal);
    // Once more over the network, where the boot loader sends it to its disk: the only sign of life that a machine gives by itself.
    await setBootDevice(node, 'pxe', { persistent: false }, ports, signal, logger);
    return proceed('tell the ramdisk');
  },
  'tell the ramdisk': async (context) => {
    const { node, ports, signal, clock } = context;
    const { deployment } = node;
    const address = deployment?.claim?.address;
    if (deployment === undefined || address === undefined) return proceed('restart');
    // An owner that died before it wrote so down may have told it: a machine that starts its instance has left the ramdisk.
    if (firstBoot(node, node.stateSince) !== undefined) return proceed('watch the first boot', released(node.stateSince));
    try {
      const key = await context.secret(deployKeyName(deployment.id));
      await ports.notifier.done(address, doneToken(key), signal);
    } catch (error) {
      if (signal.aborted) throw error;
      // Sent whole, and then the connection broke: a ramdisk that goes down at once because it was told looks like one that died. Its boot shows which.
      if (maybeTold(error)) return proceed('see whether it boots', released(clock.now()));
      // Gone it may be: told by an owner that died, with nothing seen of its boot, or rebooted by hand. A restart does no harm now.
      if (node.attempts + 1 >= NOTIFY_ATTEMPTS) return proceed('restart');
      throw machineErrors.MACHINE_NOTIFY({ address, reason: messageOf(error) }, { cause: error });
    }
    return proceed('watch the first boot', released(clock.now()));
  },
  restart: async ({ node, ports, signal, clock }) => {
    await ports.power.ensureOff(node, signal);
    await ports.power.ensureOn(node, signal);
    return proceed('watch the first boot', released(clock.now()));
  },
  'watch the first boot': (context) => watchFirstBoot(context, 'its power decides'),
  'see whether it boots': (context) => watchFirstBoot(context, 'restart'),
  'wait for its word': waitForWord,
};

/** `unseen`: what a machine of which nothing was seen in time is given. */
async function watchFirstBoot(context: HandlerContext, unseen: 'its power decides' | 'restart'): Promise<StepResult> {
  const { node, ports, signal, clock, settings } = context;
  const releasedAt = node.deployment?.releasedAt ?? node.stateSince;
  const name = node.instance?.name ?? '';
  const boot = firstBoot(node, releasedAt);
  // An instance that has spoken has started, whatever was seen of that.
  const heard = node.deployment?.phoneHome?.heardAt !== undefined;
  if (waitsForWord(node) && (boot !== undefined || heard))
    return proceed('wait for its word', listening(clock.now() + settings.phoneHomeTimeoutMs));
  if (boot !== undefined) {
    await finish(context);
    return done('active', `${name} boots: ${boot.type}${boot.detail === undefined ? '' : ` ${boot.detail}`}`, poweredOn(clock.now()));
  }
  const decideAt = releasedAt + settings.bootObserveMs;
  if (clock.now() < decideAt) return waitFor(decideAt);
  // A machine that boots straight from its disk shows nothing on the network; then its power has to do.
  if (unseen === 'restart' || (await ports.power.status(node, signal)) === 'off') return proceed('restart');
  if (waitsForWord(node)) return proceed('wait for its word', listening(clock.now() + settings.phoneHomeTimeoutMs));
  await finish(context);
  return done('active', `${name} is powered on; it did not ask the network for its boot`, poweredOn(clock.now()));
}

/** Where the instance is to report: ACTIVE means that it has. */
async function waitForWord(context: HandlerContext): Promise<StepResult> {
  const { node, ports, signal, clock, settings } = context;
  const { phoneHome } = node.deployment ?? {};
  if (phoneHome?.heardAt !== undefined) {
    await finish(context);
    return done('active', `${node.instance?.name ?? ''} has reported that it is up, from ${phoneHome.address}`, poweredOn(clock.now()));
  }
  const until = phoneHome?.untilAt ?? clock.now();
  if (clock.now() < until) return waitFor(until);
  const power = await ports.power.status(node, signal).catch(() => 'not known' as const);
  signal.throwIfAborted();
  return failed(noPhoneHome(node, Math.round(settings.phoneHomeTimeoutMs / 1000), power));
}

function waitsForWord(node: NodeRecord): boolean {
  return node.deployment?.phoneHome !== undefined;
}

function listening(until: number): (latest: NodeRecord) => NodeRecord {
  return (latest) => {
    const { deployment } = latest;
    if (deployment?.phoneHome === undefined) return latest;
    return { ...latest, deployment: { ...deployment, phoneHome: { untilAt: until, ...deployment.phoneHome } } };
  };
}

async function finish({ node, ports, signal, logger }: HandlerContext): Promise<void> {
  const { deployment } = node;
  // From now on without us: the machine boots also while the provisioning network is away (N12).
  if (deployment?.image.boot === 'local') await setBootDevice(node, 'disk', { persistent: true }, ports, signal, logger);
  if (deployment === undefined) return;
  await ports.secrets.remove(deployKeyName(deployment.id));
  if (deployment.phoneHome !== undefined) await ports.secrets.remove(phoneHomeName(deployment.id));
}

/** What the power sync holds the machine to from now on. */
function poweredOn(at: number): (latest: NodeRecord) => NodeRecord {
  return (latest) => ({ ...latest, power: { state: 'on', at } });
}

/** A BMC that cannot set it is no reason to fail: the boot loader sends the machine the same way. */
async function setBootDevice(
  node: NodeRecord,
  device: 'pxe' | 'disk',
  options: { readonly persistent: boolean },
  ports: HandlerContext['ports'],
  signal: AbortSignal,
  logger: HandlerContext['logger'],
): Promise<void> {
  try {
    await ports.power.setBootDevice(node, device, options, signal);
  } catch (error) {
    if (signal.aborted) throw error;
    logger.warn({ error: String(error), device }, 'the boot device could not be set; the boot loader decides alone');
  }
}

/** What showed that the machine starts its instance; the ramdisk itself never asks for that. */
function firstBoot(node: NodeRecord, since: number): TimelineEvent | undefined {
  return node.timeline.find((event) => (event.lastAt ?? event.at) >= since && (event.intent === 'boot' || event.intent === 'local'));
}

function released(at: number): (latest: NodeRecord) => NodeRecord {
  return (latest) => ({ ...latest, deployment: latest.deployment && { ...latest.deployment, releasedAt: at } });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
