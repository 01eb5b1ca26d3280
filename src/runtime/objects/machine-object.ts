/** A BareMetalNode as the API server gives it. */
import { type BareMetalNodeSpec, type BareMetalNodeStatus, bareMetalNode } from 'cdk8s-baremetal-contract/crd/index';
import { z } from 'zod';

export interface MachineObject {
  readonly namespace: string;
  readonly name: string;
  /** Of this life of the object: one that is deleted and made again has another. */
  readonly uid: string;
  readonly resourceVersion: string;
  /** Rises with every change of the spec. */
  readonly generation: number;
  /** Somebody deleted it, and a finalizer keeps it. */
  readonly deleting: boolean;
  /** Which pair of management nodes it is for. */
  readonly site: string;
  readonly pod: string;
  readonly spec: { readonly value: BareMetalNodeSpec } | { readonly problems: readonly string[] };
  readonly status: BareMetalNodeStatus | undefined;
  /** As it was read, for the answer. */
  readonly rawSpec: unknown;
}

const head = z.object({
  metadata: z.object({
    namespace: z.string().min(1),
    name: z.string().min(1),
    uid: z.string().min(1),
    resourceVersion: z.string().min(1),
    generation: z.number().int().nonnegative().default(0),
    deletionTimestamp: z.string().optional(),
  }),
  spec: z.looseObject({ site: z.string(), pod: z.string() }),
  status: z.unknown().optional(),
});

/** Undefined for what is no BareMetalNode, or says not whose it is. */
export function readObject(value: unknown): MachineObject | undefined {
  const parsed = head.safeParse(value);
  if (!parsed.success) return undefined;
  const { metadata, spec, status } = parsed.data;
  const { namespace, name, uid, resourceVersion, generation, deletionTimestamp } = metadata;
  const checked = bareMetalNode.spec.safeParse(spec);
  return {
    namespace,
    name,
    uid,
    resourceVersion,
    generation,
    deleting: deletionTimestamp !== undefined,
    site: spec.site,
    pod: spec.pod,
    spec: checked.success ? { value: checked.data } : { problems: checked.error.issues.map(problemText) },
    status: bareMetalNode.status?.safeParse(status).data,
    rawSpec: spec,
  };
}

function problemText({ path, message }: { readonly path: readonly PropertyKey[]; readonly message: string }): string {
  return `${['spec', ...path].join('.')}: ${message}`;
}
