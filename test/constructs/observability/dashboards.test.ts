/** A dashboard that asks for a metric that does not exist shows nothing, and nobody notices: so every name is looked up here. */
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import {
  bmsCoreDashboard,
  dashboard,
  dashboardMetrics,
  graph,
  logsDashboard,
  operatorDashboard,
  operatorMetrics,
} from 'cdk8s-baremetal/observability/index';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { temporaryFolder } from '../../support/temporary-folder.ts';

interface PanelJson {
  readonly id: number;
  readonly title: string;
  readonly datasource: { readonly type: string };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets: readonly { readonly expr: string; readonly legendFormat?: string }[];
}

const DASHBOARDS = [bmsCoreDashboard(), operatorDashboard(), logsDashboard()];
const panelsOf = ({ json }: (typeof DASHBOARDS)[number]): readonly PanelJson[] => json.panels as readonly PanelJson[];
const queries = DASHBOARDS.flatMap((one) =>
  panelsOf(one).flatMap(({ title, targets, datasource }) =>
    targets.map((target) => ({ ...target, source: datasource.type, where: `${one.uid}: ${title}` })),
  ),
);
const promql = queries.filter(({ source }) => source === 'prometheus');

/** The metric behind a name in a query. */
function definitionOf(name: string): { readonly labels?: readonly string[]; readonly type: string } | undefined {
  const table: Readonly<Record<string, { readonly labels?: readonly string[]; readonly type: string }>> = dashboardMetrics;
  return table[name] ?? (name.endsWith('_bucket') ? table[name.slice(0, -'_bucket'.length)] : undefined);
}

describe('004-14: dashboards as code', () => {
  it('ask for metrics that exist, with labels that they have', () => {
    expect(promql.length).toBeGreaterThan(30);
    for (const { expr, legendFormat = '', where } of promql) {
      const names = [...expr.matchAll(/\b(?:bms|operator|process)_\w+/g)].map(([name]) => name);
      expect(names, where).not.toEqual([]);
      for (const name of names) {
        const definition = definitionOf(name);
        expect(definition, `${where}: ${name}`).toBeDefined();
        expect(definition?.type === 'histogram', `${where}: ${name}`).toBe(name.endsWith('_bucket'));
        const labels = ['le', ...(definition?.labels ?? [])];
        const used = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap((match) => (match[1] ?? '').split(', '));
        const matched = [...expr.matchAll(/\{(\w+)[=!]/g)].map((match) => match[1] ?? '');
        const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map((match) => match[1] ?? '');
        for (const label of [...used, ...matched, ...shown]) expect(labels, `${where}: ${label}`).toContain(label);
        for (const label of shown) expect(used, `${where}: ${label} is summed away`).toContain(label);
      }
      if (/_total\b/.test(expr)) expect(expr, where).toMatch(/rate\(/); // a counter's height says nothing
    }
  });

  it('ask Loki, with nothing chosen, what it answers: one matcher at least must refuse the empty text', () => {
    for (const { json } of DASHBOARDS) {
      const { list } = json.templating as { list: readonly { name: string; allValue?: string }[] };
      for (const { expr } of queries.filter(({ source, where }) => source === 'loki' && where.startsWith(`${json.uid}:`))) {
        const all = expr.replaceAll(/\$(\w+)/g, (word, name) => list.find((one) => one.name === name)?.allValue ?? word);
        const matchers = [...(/^[^{]*\{(.*?)\}/.exec(all)?.[1] ?? '').matchAll(/=~"([^"]*)"/g)].map(
          ([, regex = '']) => new RegExp(`^(?:${regex})$`),
        );
        expect(
          matchers.filter((one) => !one.test('')),
          all,
        ).not.toEqual([]);
      }
    }
  });

  it("know the operator's metrics as its sources define them", () => {
    const sources = globSync('src/operator/**/*.ts')
      .map((file) => readFileSync(file, 'utf8'))
      .join('\n');
    const defined = new Map(
      [...sources.matchAll(/\.(counter|gauge|histogram)\(\s*'(\w+)'/g)].map((match) => [match[2] ?? '', match[1] ?? '']),
    );
    expect(defined.size).toBeGreaterThan(10);
    for (const [name, { type }] of Object.entries(operatorMetrics)) expect(defined.get(name), name).toBe(type);
  });

  it('lay their panels out without overlap, each with an id of its own', () => {
    for (const one of DASHBOARDS) {
      const panels = panelsOf(one);
      expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
      for (const a of panels)
        for (const b of panels) {
          const [p, q] = [a.gridPos, b.gridPos];
          const apart = p.x + p.w <= q.x || q.x + q.w <= p.x || p.y + p.h <= q.y || q.y + q.h <= p.y;
          expect(a === b || apart, `${one.uid}: ${a.title} and ${b.title}`).toBe(true);
        }
      for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
    }
    const wide = { title: 'x', width: 13, queries: [] };
    expect(() => dashboard({ uid: 'x', title: 'x', rows: [{ height: 1, panels: [graph(wide), graph(wide)] }] })).toThrow(/wider than 24/);
  });

  it('fit into a ConfigMap, and are the same every time', () => {
    expect(Buffer.byteLength(JSON.stringify(DASHBOARDS.map(({ json }) => json)))).toBeLessThan(500_000);
    expect(bmsCoreDashboard()).toEqual(bmsCoreDashboard());
    expect(new Set(DASHBOARDS.map(({ uid }) => uid)).size).toBe(DASHBOARDS.length);
  });

  const missing = spawnSync('promtool', ['--version']).error ? 'promtool is missing (Debian package prometheus)' : undefined;
  if (missing !== undefined) console.warn(`SKIPPED PromQL syntax: ${missing}`);

  describe.skipIf(missing !== undefined)('PromQL', () => {
    const folder = temporaryFolder();
    beforeAll(folder.create);
    afterAll(folder.remove);

    it('is understood by Prometheus itself', () => {
      const rules = promql.map(({ expr }, index) => ({ record: `test:query:${index}`, expr: expr.replaceAll('$__rate_interval', '5m') }));
      writeFileSync(folder.path('rules.yaml'), stringify({ groups: [{ name: 'dashboards', rules }] }));
      const { status, stdout, stderr } = spawnSync('promtool', ['check', 'rules', folder.path('rules.yaml')], { encoding: 'utf8' });
      expect(`${stdout}${stderr}`).toContain(`${rules.length} rules found`);
      expect(status).toBe(0);
    });
  });
});
