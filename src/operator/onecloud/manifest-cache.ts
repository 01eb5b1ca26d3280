/**
 * The manifests of clusters, remembered: a pass asks for the same ones several times, and most passes for those of the pass before. Making them costs
 * ten times what comparing them does.
 */
import { type ClusterContext, type ComponentManifests, clusterManifests } from 'cdk8s-baremetal/onecloud/index';
import type { ClusterSpec } from 'cdk8s-baremetal-contract/onecloud/index';

/** As `clusterManifests`; what it gives is shared, and must not be changed. */
export type ManifestMaker = (spec: ClusterSpec, context: ClusterContext) => readonly ComponentManifests[];

/** Of one cluster: as it is wanted, with images held back, and bare. Passes that alternate between more do not exist for long. */
const KEPT = 4;

export class ManifestCache {
  readonly #clusters = new Map<string, Map<string, readonly ComponentManifests[]>>();

  /** What makes the manifests of the cluster that this key names. */
  of(cluster: string): ManifestMaker {
    const known = this.#clusters.get(cluster) ?? new Map<string, readonly ComponentManifests[]>();
    this.#clusters.set(cluster, known);
    return (spec, context) => {
      const question = JSON.stringify([spec, context]);
      const made = known.get(question) ?? clusterManifests(spec, context);
      known.delete(question);
      known.set(question, made); // the latest stand last
      for (const oldest of known.keys()) {
        if (known.size <= KEPT) break;
        known.delete(oldest);
      }
      return made;
    };
  }

  forget(cluster: string): void {
    this.#clusters.delete(cluster);
  }
}
