import { type Dashboard, dashboard, logGraph, logs } from '../dashboard.ts';

/** What services say. Our own log JSON, OneCloud's write `[error …]` or `level=error`. */
const FAILURE = '(?i)(?:\\\\blevel\\\\W{1,4}(?:error|fatal|50|60)\\\\b|\\\\[(?:error|fatal)\\\\b|\\\\bpanic:)';

/** Every service's log, searched, with how much and how many failures of whom. */
export function logsDashboard(): Dashboard {
  const chosen = '{namespace=~"$namespace", component=~"$component"}';
  return dashboard({
    uid: 'service-logs',
    title: 'Logs of the services',
    tags: ['logs'],
    variables: [
      { name: 'namespace', label: 'Namespace', lokiLabel: 'namespace' },
      { name: 'component', label: 'Component', lokiLabel: 'component', mayLack: true },
    ],
    search: true,
    rows: [
      {
        height: 8,
        panels: [
          logGraph({
            title: 'Lines a second',
            unit: 'ops',
            stacked: true,
            queries: [{ expression: `sum by (component) (rate(${chosen} [$__auto]))`, legend: '{{component}}' }],
          }),
          logGraph({
            title: 'Lines that tell of failures, a second',
            unit: 'ops',
            stacked: true,
            queries: [{ expression: `sum by (component) (rate(${chosen} |~ "${FAILURE}" [$__auto]))`, legend: '{{component}}' }],
          }),
        ],
      },
      { height: 20, panels: [logs({ title: 'Log', queries: [{ expression: `${chosen} |~ \`$search\`` }] })] },
    ],
  });
}
