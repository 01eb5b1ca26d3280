import type { Quantities } from 'cdk8s-baremetal-contract/onecloud/index';
import { k8s } from 'cdk8s-plus-28';

/** Requests and limits of a container; a part that is empty is left out. */
export function resourcesOf({
  requests,
  limits,
}: {
  readonly requests: Quantities;
  readonly limits: Quantities;
}): k8s.ResourceRequirements {
  return {
    ...(Object.keys(requests).length > 0 && { requests: quantities(requests) }),
    ...(Object.keys(limits).length > 0 && { limits: quantities(limits) }),
  };
}

function quantities(values: Quantities): Record<string, k8s.Quantity> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, k8s.Quantity.fromString(String(value))]));
}
