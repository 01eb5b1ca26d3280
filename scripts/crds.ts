/** The files of crds/, from the contract's schemas. */
import { bareMetalNode, bmsRecord } from 'cdk8s-baremetal-contract';
import { onecloudCluster } from 'cdk8s-baremetal-contract/onecloud/crd';
import { stringify } from 'yaml';

/** File name → content, one per API group, as `cdk8s import` makes one module of a group. YAML 1.1, as kubectl reads it: a plain "on" would be true. */
export function crdFiles(): Map<string, string> {
  const files = new Map<string, string>();
  for (const crd of [bareMetalNode, bmsRecord, onecloudCluster]) {
    const name = `${crd.apiVersion.split('/')[0]}.yaml`;
    const text = stringify(crd.manifest(), { lineWidth: 120, version: '1.1' });
    const before = files.get(name);
    files.set(name, before === undefined ? text : `${before}---\n${text}`);
  }
  return files;
}
