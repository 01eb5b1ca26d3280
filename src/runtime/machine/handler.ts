import type { Secret } from 'cdk8s-baremetal-contract/secret';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { Random } from '../core/random.ts';
import type { NodeRecord } from './node-record.ts';
import type { MachinePorts } from './ports.ts';
import type { Change, StepResult } from './results.ts';
import type { MachineSettings } from './settings.ts';

export interface HandlerContext {
  /** The record as read just now; a copy. */
  readonly node: NodeRecord;
  readonly ports: MachinePorts;
  readonly settings: MachineSettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Aborts at the state's deadline, when somebody asked for something else, and when the machine is no longer ours. */
  readonly signal: AbortSignal;
  /** A secret by name; its value is blotted out of every reason that this handler causes. */
  secret(name: string): Promise<Secret>;
  /** Whether another machine claims this one's interfaces or BMC: a sentence, or undefined. */
  takenBy(): Promise<string | undefined>;
  /** Writes a change down in the middle of a step, and is the fence before what cannot be undone: rejects when the machine is not ours. */
  report(change: Change): Promise<NodeRecord>;
}

/**
 * Does what the state asks for, from wherever it stands: it is called again after a crash, a take-over, an event. What it throws
 * counts as `failed` when it is permanent, as `retry` otherwise.
 */
export type Handler = (context: HandlerContext) => Promise<StepResult>;
