/** Counters, gauges and histograms, and their text form (Prometheus exposition format 0.0.4). */
import { type MetricDefinition, type MetricName, type Metrics, metrics } from 'cdk8s-baremetal-contract/api/index';

type NamesOf<K extends MetricDefinition['type']> = { [N in MetricName]: Metrics[N] extends { type: K } ? N : never }[MetricName];
type LabelsOf<N extends MetricName> = Metrics[N] extends { labels: readonly (infer L extends string)[] }
  ? Readonly<Record<L, string>>
  : Record<never, never>;

interface Series {
  readonly labels: readonly string[];
  value: number;
  /** Of a histogram: how many in each bucket, and in all. */
  readonly counts?: number[];
  count: number;
}

/** More combinations of label values than this are counted together as `other`: a label must not eat the memory. */
const MOST_SERIES = 500;

export class MetricsRegistry {
  readonly #series = new Map<MetricName, Map<string, Series>>();
  readonly #collectors: (() => void | Promise<void>)[] = [];

  add<N extends NamesOf<'counter'>>(name: N, labels: LabelsOf<N>, by = 1): void {
    this.#of(name, labels).value += by;
  }

  set<N extends NamesOf<'gauge'> | 'process_cpu_seconds_total'>(name: N, labels: LabelsOf<N>, value: number): void {
    this.#of(name, labels).value = value;
  }

  /** Before a gauge with labels is set anew: values that are gone must not stay. */
  clear(name: NamesOf<'gauge'>): void {
    this.#series.delete(name);
  }

  observe<N extends NamesOf<'histogram'>>(name: N, labels: LabelsOf<N>, value: number): void {
    const series = this.#of(name, labels);
    series.value += value;
    series.count += 1;
    const index = metrics[name].buckets.findIndex((bound) => value <= bound);
    if (index >= 0 && series.counts) series.counts[index] = (series.counts[index] ?? 0) + 1;
  }

  /** Called before each rendering. */
  collect(collector: () => void | Promise<void>): void {
    this.#collectors.push(collector);
  }

  async render(): Promise<string> {
    for (const collect of this.#collectors) await collect();
    return `${Object.keys(metrics)
      .flatMap((name) => this.#lines(name as MetricName))
      .join('\n')}\n`;
  }

  #of(name: MetricName, given: Readonly<Record<string, string>>): Series {
    const definition: MetricDefinition = metrics[name];
    let all = this.#series.get(name);
    if (!all) {
      all = new Map();
      this.#series.set(name, all);
    }
    let labels = (definition.labels ?? []).map((label) => given[label] ?? '');
    let key = JSON.stringify(labels);
    if (!all.has(key) && all.size >= MOST_SERIES) {
      labels = labels.map(() => 'other');
      key = JSON.stringify(labels);
    }
    let series = all.get(key);
    if (!series) {
      series = { labels, value: 0, count: 0, ...(definition.buckets && { counts: definition.buckets.map(() => 0) }) };
      all.set(key, series);
    }
    return series;
  }

  #lines(name: MetricName): string[] {
    const { type, help, labels = [], buckets = [] }: MetricDefinition = metrics[name];
    const all = [...(this.#series.get(name)?.values() ?? [])];
    // One without labels is there from the beginning: a rate over a counter that appears at 1 misses the first.
    if (all.length === 0 && labels.length === 0) all.push({ labels: [], value: 0, count: 0, counts: buckets.map(() => 0) });
    const lines = [`# HELP ${name} ${escaped(help, false)}`, `# TYPE ${name} ${type}`];
    for (const series of all) {
      const pairs = labels.map((label, index) => `${label}="${escaped(series.labels[index] ?? '', true)}"`);
      if (type !== 'histogram') {
        lines.push(`${name}${braces(pairs)} ${series.value}`);
        continue;
      }
      let below = 0;
      for (const [index, bound] of buckets.entries()) {
        below += series.counts?.[index] ?? 0;
        lines.push(`${name}_bucket${braces([...pairs, `le="${bound}"`])} ${below}`);
      }
      lines.push(`${name}_bucket${braces([...pairs, 'le="+Inf"'])} ${series.count}`);
      lines.push(`${name}_sum${braces(pairs)} ${series.value}`, `${name}_count${braces(pairs)} ${series.count}`);
    }
    return lines;
  }
}

function braces(pairs: readonly string[]): string {
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(text: string, quoted: boolean): string {
  const plain = text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  return quoted ? plain.replaceAll('"', '\\"') : plain;
}
