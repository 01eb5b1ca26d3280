/** Standard conditions: one per type, and a transition time that moves only when the status does. */
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import { isoTime } from 'cdk8s-baremetal-runtime/core/iso-time';

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** CamelCase. */
  readonly reason: string;
  readonly message?: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number;
}

export type NewCondition = Omit<Condition, 'lastTransitionTime'>;

/** `conditions` with `next` in the places of their types, others untouched; new types at the end. */
export function setConditions(conditions: readonly Condition[], next: readonly NewCondition[], clock: Clock): Condition[] {
  const now = isoTime(clock.now());
  const result = [...conditions];
  for (const condition of next) {
    const index = result.findIndex(({ type }) => type === condition.type);
    const before = result[index];
    const lastTransitionTime = before?.status === condition.status ? before.lastTransitionTime : now;
    const placed = { ...condition, lastTransitionTime };
    if (index < 0) result.push(placed);
    else result[index] = placed;
  }
  return result;
}

export function conditionOf(conditions: readonly Condition[], type: string): Condition | undefined {
  return conditions.find((condition) => condition.type === type);
}
