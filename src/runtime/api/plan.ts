/** Confirmations: by `yes`, or by the hash of the plan that the caller has read. */
import type { PlanView } from 'cdk8s-baremetal-contract/api/index';
import type { ImageRecord, NodeRecord } from '../machine/index.ts';
import { type Approval, type PlannedRequest, planOf } from '../machine/plan.ts';
import type { MachineSettings } from '../machine/settings.ts';
import { apiErrors, Refusal } from './errors.ts';

export interface Planned {
  readonly request: PlannedRequest;
  readonly node: NodeRecord;
  readonly image?: ImageRecord;
  readonly settings: MachineSettings;
}

interface Confirmation {
  readonly yes?: boolean | undefined;
  readonly plan?: string | undefined;
}

/** Throws API_CONFIRM, with the plan in its details, or API_PLAN_CHANGED. The approval is for who checks again when the record is changed. */
export function confirmed(planned: Planned, given: Confirmation): Approval {
  const plan = planOf(planned.request, planned.node, planned.image, planned.settings);
  const verb = `${plan.verb} on ${plan.node}`;
  if (given.plan !== undefined) {
    if (given.plan !== plan.hash) throw new Refusal(apiErrors.API_PLAN_CHANGED({ verb }));
    return { hash: given.plan };
  }
  if (given.yes === true) return { yes: true };
  throw new Refusal(apiErrors.API_CONFIRM({ verb, steps: plan.steps }), { details: [{ what: 'plan', why: plan.hash }] });
}

export function planView({ request, node, image, settings }: Planned): PlanView {
  const plan = planOf(request, node, image, settings);
  return { ...plan, steps: [...plan.steps] };
}
