import { withDeadline } from '../../core/clock.ts';
import { shutDown } from '../../power/index.ts';
import { machineErrors } from '../errors.ts';
import type { Handler, HandlerContext } from '../handler.ts';
import type { NodeRecord, Verb } from '../node-record.ts';
import { isPermanent } from '../ports.ts';
import { reasonOf } from '../reason-of.ts';
import { type Change, failed, proceed, type StepResult, waitFor } from '../results.ts';

/** Verbs that leave a machine in use. */
export const activeVerbs = ['reboot', 'power on', 'power off', 'attach volume', 'detach volume', 'plug vifs'] as const;
type ActiveVerb = Extract<Verb, (typeof activeVerbs)[number]>;

interface ActiveStep {
  readonly run: (context: HandlerContext, signal: AbortSignal) => Promise<Change>;
}

/** How often to look whether a machine that was asked to shut down has done so. */
const SOFT_LOOK_MS = 2_000;

const steps: Readonly<Record<ActiveVerb, ActiveStep>> = {
  'power on': { run: ({ node, ports, clock }, signal) => ports.power.ensureOn(node, signal).then(() => powered('on', clock.now())) },
  'power off': { run: ({ node, ports, clock }, signal) => ports.power.ensureOff(node, signal).then(() => powered('off', clock.now())) },
  // Absolute commands only: a reset that is repeated by a successor would interrupt the boot that it caused.
  reboot: {
    run: async (context, signal) => {
      const { node, ports, clock } = context;
      if (node.stepArgs?.mode !== 'hard') await softOff(context, signal);
      await ports.power.ensureOff(node, signal);
      await ports.power.ensureOn(node, signal);
      return powered('on', clock.now());
    },
  },
  // The list says what may be exported, from before the first try to after the last: what a cleanup must withdraw is never unknown.
  'attach volume': {
    run: async ({ node, ports }, signal) => {
      await ports.volumes.attachVolume(node, volumeOf(node), signal);
      return (latest) => latest;
    },
  },
  'detach volume': {
    run: async ({ node, ports }, signal) => {
      const volume = volumeOf(node);
      await ports.volumes.detachVolume(node, volume, signal);
      return (latest) =>
        latest.instance === undefined
          ? latest
          : { ...latest, instance: { ...latest.instance, volumes: latest.instance.volumes.filter((known) => known !== volume) } };
    },
  },
  'plug vifs': {
    run: async ({ node, ports }, signal) => {
      if (node.instance === undefined) return (latest) => latest;
      const vifs = node.stepArgs?.vifs ?? node.instance.vifs;
      const assigned = await ports.vifs.plug({ ...node, instance: { ...node.instance, vifs } }, signal);
      return (latest) => ({
        ...latest,
        instance: latest.instance && { ...latest.instance, vifs },
        interfaces: latest.interfaces.map((known) => ({ ...known, vif: assigned[known.mac] })),
      });
    },
  },
};

/** A machine in use is left alone, but for what is asked of it. */
export const active: Handler = async (context) => {
  const { node, clock, settings, signal } = context;
  const verb = activeVerbs.find((name) => name === node.step);
  if (verb === undefined) return node.step === undefined ? waitFor() : proceed(undefined);
  const softMs = verb === 'reboot' && node.stepArgs?.mode !== 'hard' ? settings.softOffMs : 0;
  const limitMs = settings.cleanupStepMs + softMs;
  const tooLong = (): Error => machineErrors.MACHINE_STEP_TIMEOUT({ step: verb, seconds: limitMs / 1000 });
  try {
    const change = await withDeadline(clock, limitMs, tooLong, (limited) => steps[verb].run(context, limited), signal);
    return proceed(undefined, (latest) => ({ ...change(latest), reason: `${verb}: done` }));
  } catch (error) {
    if (signal.aborted || verb !== 'attach volume') throw error;
    return await giveUpAttaching(context, error);
  }
};

/** Half an export is withdrawn before the failure is told; while it cannot be, the volume stays on the list for the next detach or the cleanup. */
async function giveUpAttaching({ node, ports, signal, settings }: HandlerContext, error: unknown): Promise<StepResult> {
  if (!isPermanent(error) && node.attempts + 1 < settings.maxAttempts) throw error;
  const volume = volumeOf(node);
  await ports.volumes.detachVolume(node, volume, signal);
  const reason = `attach volume: ${reasonOf(error)}`;
  return failed(reason, (latest) =>
    latest.instance === undefined
      ? latest
      : { ...latest, instance: { ...latest.instance, volumes: latest.instance.volumes.filter((known) => known !== volume) } },
  );
}

/** That the operating system did not listen is no failure: the power is cut next. Only what cannot be asked at all is not waited for. */
async function softOff({ node, ports, clock, settings, logger }: HandlerContext, signal: AbortSignal): Promise<void> {
  let told: string | undefined;
  const onFailure = (error: unknown, asked: boolean): void => {
    const why = error instanceof Error ? error.message : String(error);
    if (why !== told) logger.warn({ error: why }, asked ? 'the power state could not be read' : 'the operating system could not be asked');
    told = why;
    if (isPermanent(error)) throw error;
  };
  try {
    const { off } = await shutDown({
      status: () => ports.power.status(node, signal),
      softOff: () => ports.power.softOff(node, signal),
      onFailure,
      clock,
      intervalMs: SOFT_LOOK_MS,
      deadlineMs: settings.softOffMs,
      signal,
    });
    if (!off) logger.warn('the operating system did not shut down in time; cutting the power');
  } catch (error) {
    if (signal.aborted || !isPermanent(error)) throw error;
  }
}

function powered(state: 'on' | 'off', at: number): Change {
  return (latest) => ({ ...latest, power: { state, at } });
}

function volumeOf(node: NodeRecord): string {
  const volume = node.stepArgs?.volume;
  if (volume === undefined) throw Object.assign(new Error('no volume is named'), { permanent: true });
  return volume;
}
