import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const observabilityErrors = defineErrors('Observability', {
  OBSERVABILITY_VALUE: entry<{ prop: string; value: string; rule: string }>({
    message: ({ prop, value, rule }) => `${prop} is ${value}: it ${rule}`,
    cure: 'Correct the value',
  }),
  OBSERVABILITY_SECRET_AS_VALUE: entry<{ prop: string }>({
    message: ({ prop }) => `${prop} holds a password, which would stand in a ConfigMap (value not shown)`,
    cure: 'Give an address without credentials',
  }),
});
