/** Counters, gauges and histograms in Prometheus' text format 0.0.4, for /metrics. */

export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  inc(labels?: Labels, by?: number): void;
  value(labels?: Labels): number;
}

export interface Gauge {
  set(value: number, labels?: Labels): void;
  add(by: number, labels?: Labels): void;
  value(labels?: Labels): number;
}

export interface Histogram {
  observe(value: number, labels?: Labels): void;
  /** Observations so far. */
  count(labels?: Labels): number;
}

export interface Metrics {
  /** The same name gives the same metric again. */
  counter(name: string, help: string): Counter;
  gauge(name: string, help: string): Gauge;
  /** `buckets`: upper bounds, rising. */
  histogram(name: string, help: string, buckets?: readonly number[]): Histogram;
  render(): string;
}

/** Content type of `render()`. */
export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Seconds; from a cached answer to a reconcile that waits for a slow API server. */
const DEFAULT_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

interface Family {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly metric: object;
  lines(name: string): string[];
}

export function createMetrics(): Metrics {
  const families = new Map<string, Family>();
  const family = <T extends object>(name: string, type: Family['type'], help: string, make: () => Omit<Family, 'type' | 'help'>): T => {
    const known = families.get(name);
    if (known && known.type !== type) throw new TypeError(`metric ${name} is a ${known.type}, not a ${type}`);
    const made = known ?? { type, help, ...make() };
    families.set(name, made);
    return made.metric as T;
  };
  return {
    counter: (name, help) => family<Counter>(name, 'counter', help, makeCounter),
    gauge: (name, help) => family<Gauge>(name, 'gauge', help, makeGauge),
    histogram: (name, help, buckets = DEFAULT_BUCKETS) => family<Histogram>(name, 'histogram', help, () => makeHistogram(buckets)),
    render: () =>
      [...families]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .flatMap(([name, { type, help, lines }]) => [`# HELP ${name} ${escapeHelp(help)}`, `# TYPE ${name} ${type}`, ...lines(name)])
        .map((line) => `${line}\n`)
        .join(''),
  };
}

function makeCounter(): { metric: Counter; lines: Family['lines'] } {
  const values = new Map<string, number>();
  const metric: Counter = {
    inc: (labels = {}, by = 1) => {
      if (by < 0) throw new RangeError('a counter never falls');
      const series = seriesOf(labels);
      values.set(series, (values.get(series) ?? 0) + by);
    },
    value: (labels = {}) => values.get(seriesOf(labels)) ?? 0,
  };
  return { metric, lines: (name) => [...values].map(([series, value]) => sample(name, series, value)) };
}

function makeGauge(): { metric: Gauge; lines: Family['lines'] } {
  const values = new Map<string, number>();
  const metric: Gauge = {
    set: (value, labels = {}) => void values.set(seriesOf(labels), value),
    add: (by, labels = {}) => {
      const series = seriesOf(labels);
      values.set(series, (values.get(series) ?? 0) + by);
    },
    value: (labels = {}) => values.get(seriesOf(labels)) ?? 0,
  };
  return { metric, lines: (name) => [...values].map(([series, value]) => sample(name, series, value)) };
}

function makeHistogram(buckets: readonly number[]): { metric: Histogram; lines: Family['lines'] } {
  const series = new Map<string, { labels: Labels; counts: number[]; sum: number; count: number }>();
  const metric: Histogram = {
    observe: (value, labels = {}) => {
      const name = seriesOf(labels);
      const found = series.get(name) ?? { labels, counts: buckets.map(() => 0), sum: 0, count: 0 };
      series.set(name, found);
      buckets.forEach((bound, index) => {
        if (value <= bound) found.counts[index] = (found.counts[index] ?? 0) + 1;
      });
      found.sum += value;
      found.count += 1;
    },
    count: (labels = {}) => series.get(seriesOf(labels))?.count ?? 0,
  };
  const lines = (name: string): string[] =>
    [...series.values()].flatMap(({ labels, counts, sum, count }) => [
      ...buckets.map((bound, index) => sample(`${name}_bucket`, seriesOf({ ...labels, le: String(bound) }), counts[index] ?? 0)),
      sample(`${name}_bucket`, seriesOf({ ...labels, le: '+Inf' }), count),
      sample(`${name}_sum`, seriesOf(labels), sum),
      sample(`${name}_count`, seriesOf(labels), count),
    ]);
  return { metric, lines };
}

function sample(name: string, series: string, value: number): string {
  return `${name}${series} ${value === Infinity ? '+Inf' : value === -Infinity ? '-Inf' : value}`;
}

/** `{kind="Deployment",verb="apply"}`: names sorted, so that one set of labels is one series. */
function seriesOf(labels: Labels): string {
  const pairs = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  if (pairs.length === 0) return '';
  return `{${pairs.map(([name, value]) => `${name}="${escapeLabel(value)}"`).join(',')}}`;
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function escapeHelp(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
