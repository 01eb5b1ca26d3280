import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const operatorOnecloudErrors = defineErrors('OneCloud operator', {
  ONECLOUD_SECRET_MISSING: entry<{ secret: string; key: string }>({
    message: ({ secret, key }) => `Secret ${secret}, or its key ${key}, which the cluster names, does not exist`,
    cure: ({ secret, key }) => `Create it: kubectl create secret generic ${secret} --from-file=${key}=FILE.`,
  }),
  ONECLOUD_LAYER_TIMEOUT: entry<{ components: readonly string[]; seconds: number; why: string }>({
    message: ({ components, seconds, why }) => `${components.join(', ')} did not become ready within ${seconds} s: ${why}`,
    cure: 'Look at the pods named above; set spec.version back, or give the component an image of its own.',
  }),
});
