/** What every cluster command works with. */
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { KubeApi } from '../../operator/engine/api.ts';
import type { ObjectKey } from '../../operator/engine/objects.ts';

export type ClusterKey = ObjectKey & { readonly namespace: string };

export interface ClusterContext {
  readonly api: KubeApi;
  readonly clock: Clock;
  /** Standard output: what was asked for. */
  readonly print: (text: string) => void;
  /** Standard error: what happens meanwhile. */
  readonly progress: (text: string) => void;
  readonly asJson: boolean;
  readonly signal: AbortSignal;
}
