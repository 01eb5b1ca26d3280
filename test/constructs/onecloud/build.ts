import { type ClusterContext, clusterManifests } from 'cdk8s-baremetal/onecloud/index';
import type { ClusterSpec } from 'cdk8s-baremetal-contract/onecloud/index';
import { parse } from 'yaml';
import { CORRECTED } from '../../contract/onecloud/seed.ts';
import type { AnyManifest } from '../../support/synth.ts';

/** The document's cluster, fresh for every test to change. */
export function seedSpec(change: Partial<ClusterSpec> = {}): ClusterSpec {
  return { ...parse(CORRECTED).spec, ...change };
}

export function build(change: Partial<ClusterSpec> = {}, context: ClusterContext = {}): AnyManifest[] {
  return clusterManifests(seedSpec(change), context).flatMap(({ manifests }) => manifests) as unknown as AnyManifest[];
}

/** The pod of a workload. */
// biome-ignore lint/suspicious/noExplicitAny: tests read deep into it
export function podOf({ spec }: AnyManifest): any {
  return (spec.jobTemplate?.spec.template ?? spec.template).spec;
}
