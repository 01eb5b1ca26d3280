/** PromQL from the names and labels of our own metrics: a query for one that does not exist does not compile. */
import type { CounterName, dashboardMetrics, GaugeName, HistogramName, MetricLabel } from './metrics.ts';

/** A minute count for people, from a counter of events. */
export function perMinute<N extends CounterName>(name: N, by: readonly MetricLabel<N>[] = [], where = ''): string {
  return `60 * sum${grouping(by)} (rate(${name}${where}[$__rate_interval]))`;
}

/** Seconds of CPU a second, and other counters whose rate is the value. */
export function perSecond<N extends CounterName>(name: N, by: readonly MetricLabel<N>[] = []): string {
  return `sum${grouping(by)} (rate(${name}[$__rate_interval]))`;
}

export function total<N extends GaugeName>(name: N, by: readonly MetricLabel<N>[] = [], where = ''): string {
  return `sum${grouping(by)} (${name}${where})`;
}

/** Of replicas that all tell the same. */
export function highest<N extends GaugeName>(name: N, by: readonly MetricLabel<N>[] = [], where = ''): string {
  return `max${grouping(by)} (${name}${where})`;
}

/** Over the values of a label, of replicas that all tell the same. */
export function sumOfHighest<N extends GaugeName>(name: N, over: readonly MetricLabel<N>[]): string {
  return `sum (${highest(name, over)})`;
}

export function quantile<N extends HistogramName>(share: number, name: N, by: readonly MetricLabel<N>[] = []): string {
  return `histogram_quantile(${share}, sum by (${['le', ...by].join(', ')}) (rate(${name}_bucket[$__rate_interval])))`;
}

/** `{status=~"5.."}`, for a label that the metric has. */
export function where<N extends keyof typeof dashboardMetrics>(_name: N, label: MetricLabel<N>, expression: string): string {
  return `{${String(label)}=~${JSON.stringify(expression)}}`;
}

function grouping(by: readonly string[]): string {
  return by.length === 0 ? '' : ` by (${by.join(', ')})`;
}
