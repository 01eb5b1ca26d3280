/** The files of crds/, from the contract's schemas. */
import { bareMetalNode } from 'cdk8s-baremetal-contract';
import { onecloudCluster } from 'cdk8s-baremetal-contract/onecloud/crd';
import { stringify } from 'yaml';

/** File name → content. YAML 1.1, as kubectl reads it: a plain "on" would be true. */
export function crdFiles(): Map<string, string> {
  return new Map(
    [bareMetalNode, onecloudCluster].map((crd) => [
      `${crd.apiVersion.split('/')[0]}_${crd.plural}.yaml`,
      stringify(crd.manifest(), { lineWidth: 120, version: '1.1' }),
    ]),
  );
}
