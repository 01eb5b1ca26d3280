import { withDeadline } from '../../core/clock.ts';
import { machineErrors } from '../errors.ts';
import type { Handler, HandlerContext } from '../handler.ts';
import type { Verb } from '../node-record.ts';
import { proceed, waitFor } from '../results.ts';

type PowerVerb = Extract<Verb, 'reboot' | 'power on' | 'power off'>;

const powerVerbs: Readonly<Record<PowerVerb, (context: HandlerContext, signal: AbortSignal) => Promise<'on' | 'off'>>> = {
  'power on': async ({ node, ports }, signal) => {
    await ports.power.ensureOn(node, signal);
    return 'on';
  },
  'power off': async ({ node, ports }, signal) => {
    await ports.power.ensureOff(node, signal);
    return 'off';
  },
  // Absolute commands only: a reset that is repeated by a successor would interrupt the boot that it caused.
  reboot: async ({ node, ports }, signal) => {
    await ports.power.ensureOff(node, signal);
    await ports.power.ensureOn(node, signal);
    return 'on';
  },
};

/** A machine in use is left alone, but for what is asked of it. */
export const active: Handler = async (context) => {
  const { node, clock, settings, signal } = context;
  const verb = node.step;
  if (verb === undefined || !isPowerVerb(verb)) return node.step === undefined ? waitFor() : proceed(undefined);
  const tooLong = (): Error => machineErrors.MACHINE_STEP_TIMEOUT({ step: verb, seconds: settings.cleanupStepMs / 1000 });
  const state = await withDeadline(clock, settings.cleanupStepMs, tooLong, (limited) => powerVerbs[verb](context, limited), signal);
  const at = clock.now();
  return proceed(undefined, (latest) => ({ ...latest, power: { state, at }, reason: `${verb}: done` }));
};

function isPowerVerb(step: string): step is PowerVerb {
  return Object.hasOwn(powerVerbs, step);
}
