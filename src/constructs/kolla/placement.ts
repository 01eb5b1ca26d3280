/** The label of a node that is in one of kolla's inventory groups. A node is in many, so each group is a label. */
import { API_GROUP } from 'cdk8s-baremetal-contract';

export function groupLabel(group: string): Readonly<Record<string, string>> {
  return { [`${API_GROUP}/group-${group}`]: 'enabled' };
}
