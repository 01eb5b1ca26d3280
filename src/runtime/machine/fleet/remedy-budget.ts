/** What the pod has done to its machines lately, on one record that all replicas share and a restart does not forget. */
import { z } from 'zod';
import type { Clock } from '../../core/clock.ts';
import { type Kind, modify, type Store } from '../../store/index.ts';
import type { RemedyPolicy } from './remedy.ts';

const budget = z.object({ spent: z.array(z.object({ node: z.string(), remedy: z.string(), at: z.number() })) });
export const remedyBudgetKind: Kind<z.infer<typeof budget>> = { name: 'remedy-budget', parse: (value) => budget.parse(value) };

const ID = 'pod';

export class RemedyBudget {
  constructor(private readonly options: { readonly store: Store; readonly clock: Clock; readonly policy: RemedyPolicy }) {}

  /** Remedies within the window. */
  async spent(): Promise<number> {
    const { store } = this.options;
    return this.recent((await store.get(remedyBudgetKind, ID))?.value.spent ?? []).length;
  }

  /** Takes one if there is one left; atomic among replicas. */
  async take(node: string, remedy: string): Promise<boolean> {
    const { store, clock, policy } = this.options;
    await store.create(remedyBudgetKind, ID, { spent: [] });
    const result = await modify(store, remedyBudgetKind, ID, ({ spent }) => {
      const recent = this.recent(spent);
      return recent.length >= policy.budget ? undefined : { spent: [...recent, { node, remedy, at: clock.now() }] };
    });
    return result.outcome === 'stored';
  }

  private recent<T extends { readonly at: number }>(spent: readonly T[]): T[] {
    const from = this.options.clock.now() - this.options.policy.windowMs;
    return spent.filter(({ at }) => at > from);
  }
}
