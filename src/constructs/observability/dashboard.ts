/** Grafana's dashboards as code: panels in rows, laid out by themselves. The JSON is what Grafana's own export gives, less its defaults. */

export type Unit = 'short' | 's' | 'percentunit' | 'bytes' | 'ops' | 'cpm';
export type DataSource = 'loki' | 'prometheus';

export interface Query {
  readonly expression: string;
  /** Grafana's template for the legend: {{state}}. */
  readonly legend?: string;
}

export interface PanelOptions {
  readonly title: string;
  readonly description?: string;
  readonly queries: readonly Query[];
  readonly unit?: Unit;
  /** Of 24 columns. @default - the row in equal parts */
  readonly width?: number;
}

export type Panel = PanelOptions & {
  readonly type: 'timeseries' | 'stat' | 'logs';
  readonly source: DataSource;
  readonly stacked?: true;
  /** Values from which a stat is orange and red. */
  readonly limits?: { readonly warning: number; readonly critical: number };
};

export const graph = (options: PanelOptions & { readonly stacked?: true }): Panel => ({
  type: 'timeseries',
  source: 'prometheus',
  ...options,
});
export const logGraph = (options: PanelOptions & { readonly stacked?: true }): Panel => ({
  type: 'timeseries',
  source: 'loki',
  ...options,
});
export const stat = (options: PanelOptions & Pick<Panel, 'limits'>): Panel => ({ type: 'stat', source: 'prometheus', ...options });
export const logs = (options: PanelOptions): Panel => ({ type: 'logs', source: 'loki', ...options });

export interface Variable {
  readonly name: string;
  readonly label: string;
  /** Label of Loki's streams whose values it offers. */
  readonly lokiLabel: string;
  /** Some streams lack the label; `All` means these too. Loki refuses a query in which every matcher takes the empty text. @default false */
  readonly mayLack?: boolean;
}

export interface DashboardOptions {
  /** Stable: links and Grafana's database go by it. */
  readonly uid: string;
  readonly title: string;
  readonly tags?: readonly string[];
  readonly rows: readonly { readonly height: number; readonly panels: readonly Panel[] }[];
  readonly variables?: readonly Variable[];
  /** Offers a free text that log queries may use as $search. */
  readonly search?: boolean;
}

/** uid of the provisioned data sources. */
export const dataSourceUid: Readonly<Record<DataSource, string>> = { loki: 'loki', prometheus: 'prometheus' };

const COLUMNS = 24;

/** Version of the model that the panels below are written in; Grafana migrates older ones itself. */
const SCHEMA_VERSION = 39;

export interface Dashboard {
  readonly uid: string;
  /** Which data sources it needs. */
  readonly sources: readonly DataSource[];
  readonly json: Readonly<Record<string, unknown>>;
}

export function dashboard({ uid, title, tags = [], rows, variables = [], search = false }: DashboardOptions): Dashboard {
  let y = 0;
  let id = 0;
  const panels: unknown[] = [];
  for (const row of rows) {
    let x = 0;
    for (const panel of row.panels) {
      const w = panel.width ?? Math.floor(COLUMNS / row.panels.length);
      if (x + w > COLUMNS) throw new RangeError(`the panels of a row of ${uid} are wider than ${COLUMNS} columns`);
      panels.push({ id: ++id, gridPos: { x, y, w, h: row.height }, ...panelJson(panel) });
      x += w;
    }
    y += row.height;
  }
  const sources = [...new Set(rows.flatMap((row) => row.panels.map(({ source }) => source)))];
  const json = {
    uid,
    title,
    tags: ['bms', ...tags],
    schemaVersion: SCHEMA_VERSION,
    editable: false, // it is provisioned: what is changed in the page would be lost
    graphTooltip: 1, // one crosshair for all panels
    refresh: '30s',
    time: { from: 'now-6h', to: 'now' },
    timezone: 'browser',
    templating: {
      list: [
        ...variables.map(variableJson),
        ...(search ? [{ name: 'search', label: 'Search', type: 'textbox', query: '', current: { text: '', value: '' } }] : []),
      ],
    },
    panels,
  };
  return { uid, sources, json };
}

function panelJson(panel: Panel): Record<string, unknown> {
  const { title, description, queries, type, source, unit = 'short' } = panel;
  const datasource = { type: source, uid: dataSourceUid[source] };
  return {
    title,
    type,
    datasource,
    ...(description !== undefined && { description }),
    targets: queries.map(({ expression, legend }, index) => ({
      refId: String.fromCharCode(65 + index), // A, B, C …
      datasource,
      expr: expression,
      ...(legend !== undefined && { legendFormat: legend }),
    })),
    ...(type !== 'logs' && {
      fieldConfig: { defaults: { unit, ...(panel.limits ? thresholds(panel.limits) : {}), ...custom(panel) }, overrides: [] },
    }),
    options: OPTIONS[type],
  };
}

const OPTIONS: Readonly<Record<Panel['type'], unknown>> = {
  timeseries: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
  stat: { reduceOptions: { calcs: ['lastNotNull'] }, colorMode: 'background', graphMode: 'area' },
  logs: { showTime: true, wrapLogMessage: true, sortOrder: 'Descending', enableLogDetails: true, dedupStrategy: 'none' },
};

function thresholds({ warning, critical }: NonNullable<Panel['limits']>): Record<string, unknown> {
  const steps = [
    { color: 'green', value: null },
    { color: 'orange', value: warning },
    { color: 'red', value: critical },
  ];
  return { color: { mode: 'thresholds' }, thresholds: { mode: 'absolute', steps } };
}

function custom({ type, stacked }: Panel): Record<string, unknown> {
  if (type !== 'timeseries') return {};
  return {
    min: 0,
    custom: {
      fillOpacity: stacked ? 30 : 8,
      lineWidth: 1,
      showPoints: 'never',
      ...(stacked && { stacking: { mode: 'normal', group: 'A' } }),
    },
  };
}

function variableJson({ name, label, lokiLabel, mayLack = false }: Variable): Record<string, unknown> {
  return {
    name,
    label,
    type: 'query',
    datasource: { type: 'loki', uid: dataSourceUid.loki },
    query: { label: lokiLabel, stream: '', type: 1 }, // 1: the values of a label
    refresh: 2, // with the time range
    includeAll: true,
    multi: true,
    allValue: mayLack ? '.*' : '.+',
    current: { text: ['All'], value: ['$__all'] },
    sort: 1,
  };
}
