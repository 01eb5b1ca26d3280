/** Why a claim gets no volume, where that is a name that nobody knows: its pod says only that it cannot be scheduled. */
import { type CodedError, nearest } from 'cdk8s-baremetal-contract';
import type { Clock } from 'cdk8s-baremetal-runtime/core/clock';
import type { KubeApi } from '../engine/api.ts';
import { isApiError } from '../engine/api-error.ts';
import { describeObject, type LiveObject, textAt } from '../engine/objects.ts';
import { resourceTypes } from '../engine/resource-types.ts';
import { operatorOnecloudErrors } from './errors.ts';

/** Passes come by the second while pods start; classes come by the year. */
const TRUSTED_MS = 15_000;

export class UnboundClaims {
  readonly #clock: Clock;
  #classes: { readonly names: readonly string[]; readonly at: number } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `component` is the key in the spec. Undefined: bound, or nothing is known against it. */
  async problemOf(api: KubeApi, claim: LiveObject, component: string): Promise<CodedError | undefined> {
    const storageClass = textAt(claim, 'spec', 'storageClassName');
    if (textAt(claim, 'status', 'phase') === 'Bound' || !storageClass) return undefined;
    const known = await this.#known(api);
    if (known === undefined || known.includes(storageClass)) return undefined;
    const near = nearest(storageClass, known);
    return operatorOnecloudErrors.ONECLOUD_STORAGE_CLASS_MISSING({
      claim: describeObject(claim),
      storageClass,
      known,
      component,
      ...(near !== undefined && { nearest: near }),
    });
  }

  async #known(api: KubeApi): Promise<readonly string[] | undefined> {
    if (this.#classes !== undefined && this.#clock.monotonic() - this.#classes.at < TRUSTED_MS) return this.#classes.names;
    try {
      const { items } = await api.list(resourceTypes.storageClasses);
      this.#classes = { names: items.map(({ metadata }) => metadata.name), at: this.#clock.monotonic() };
      return this.#classes.names;
    } catch (error) {
      if (isApiError(error, 'forbidden', 'not-found')) return undefined; // an explanation is not worth a failed pass
      throw error;
    }
  }
}
