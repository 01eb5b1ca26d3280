/** A page in Prometheus' text format, asked for sums and quantiles: ours, and the API server's own. */

type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly name: string;
  readonly labels: Labels;
  readonly value: number;
}

export class MetricsPage {
  readonly #samples: readonly Sample[];

  constructor(text: string) {
    this.#samples = text.split('\n').flatMap((line) => sampleOf(line) ?? []);
  }

  /** Sum of the series whose labels `matches` accepts. */
  sum(name: string, matches: (labels: Labels) => boolean = () => true): number {
    return this.#samples.filter((sample) => sample.name === name && matches(sample.labels)).reduce((sum, { value }) => sum + value, 0);
  }

  /** By the values of one label. */
  by(name: string, label: string, matches: (labels: Labels) => boolean = () => true): ReadonlyMap<string, number> {
    const sums = new Map<string, number>();
    for (const sample of this.#samples) {
      if (sample.name !== name || !matches(sample.labels)) continue;
      const value = sample.labels[label] ?? '';
      sums.set(value, (sums.get(value) ?? 0) + sample.value);
    }
    return sums;
  }

  /** As Prometheus' histogram_quantile of what was observed since `before`: linear within a bucket. NaN without observations. */
  quantile(name: string, q: number, before?: MetricsPage): number {
    const buckets = [...this.by(`${name}_bucket`, 'le')]
      .map(([le, count]) => ({
        le: le === '+Inf' ? Infinity : Number(le),
        count: count - (before?.by(`${name}_bucket`, 'le').get(le) ?? 0),
      }))
      .sort((a, b) => a.le - b.le);
    const total = buckets.at(-1)?.count ?? 0;
    const rank = q * total;
    const index = buckets.findIndex(({ count }) => count >= rank);
    const [bucket, below] = [buckets[index], buckets[index - 1] ?? { le: 0, count: 0 }];
    if (total === 0 || bucket === undefined) return Number.NaN;
    if (bucket.le === Infinity) return below.le;
    return below.le + ((bucket.le - below.le) * (rank - below.count)) / Math.max(1, bucket.count - below.count);
  }
}

function sampleOf(line: string): Sample | undefined {
  const [, name, labels = '', value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
  if (name === undefined || value === undefined) return undefined;
  const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = '', text = '']) => [label, text] as const);
  return { name, labels: Object.fromEntries(pairs), value: value === '+Inf' ? Infinity : Number(value) };
}
