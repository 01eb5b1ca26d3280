import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const objectErrors = defineErrors('Machines as Kubernetes objects', {
  OBJECT_INVALID: entry<{ problems: readonly string[] }>({
    message: ({ problems }) => `the object is not valid: ${problems.join('; ')}`,
    cure: 'Correct the named fields, and apply the CustomResourceDefinitions of this release (kubectl apply -f crds/)',
  }),
  OBJECT_CREDENTIALS: entry<{ secret: string; directory: string }>({
    message: ({ secret, directory }) => `the Secret ${secret} with the BMC's username and password is not mounted at ${directory}`,
    cure: ({ secret }) =>
      `Create the Secret ${secret} with the keys username and password; one that no machine named before is mounted once the site's manifests are applied again`,
  }),
  OBJECTS_OUTSIDE: entry<{ reason: string }>({
    message: ({ reason }) => `[objects] enabled needs the API server of a cluster: ${reason}`,
    cure: 'Run it in a Kubernetes pod whose service account token is mounted, or switch it off (BMS_OBJECTS__ENABLED=false)',
  }),
  OBJECTS_WHOSE: entry<{ node: string }>({
    message: ({ node }) => `the name ${node} does not say which site and pod this management node is of`,
    cure: 'Set [objects] site and [objects] pod',
  }),
  OBJECTS_FORBIDDEN: entry<{ namespace: string; reason: string }>({
    message: ({ namespace, reason }) => `the service account may not work on baremetalnodes in the namespace ${namespace}: ${reason}`,
    cure: "Apply the Role and RoleBinding bms-core-objects of the site's manifests",
  }),
  OBJECTS_CRD_MISSING: entry<{ server: string }>({
    message: ({ server }) => `the API server ${server} knows no baremetalnodes.baremetal.bms.io`,
    cure: 'Apply the CustomResourceDefinitions (kubectl apply -f crds/); the daemon keeps trying',
  }),
});
