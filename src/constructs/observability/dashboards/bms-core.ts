import { type Dashboard, dashboard, graph, stat } from '../dashboard.ts';
import { highest, perMinute, quantile, sumOfHighest, total, where } from '../queries.ts';

/** The machines and the daemon that provisions them. */
export function bmsCoreDashboard(): Dashboard {
  return dashboard({
    uid: 'bms-core',
    title: 'Bare-metal machines',
    rows: [
      {
        height: 4,
        panels: [
          stat({
            title: 'Machines',
            queries: [
              {
                expression: sumOfHighest('bms_nodes', ['state']),
              },
            ],
          }),
          stat({
            title: 'Overdue',
            description: 'Their state should have ended',
            queries: [{ expression: highest('bms_nodes_overdue') }],
            limits: { warning: 1, critical: 5 },
          }),
          stat({
            title: 'Faulty',
            description: 'Their BMC does not answer, their power was lost, or somebody reported them',
            queries: [{ expression: highest('bms_nodes_faulty') }],
            limits: { warning: 1, critical: 5 },
          }),
          stat({
            title: 'Outage',
            description: '1: so many are faulty at once that no remedy is tried',
            queries: [{ expression: highest('bms_power_sync_outage') }],
            limits: { warning: 1, critical: 1 },
          }),
          stat({ title: 'In maintenance', queries: [{ expression: highest('bms_nodes_maintenance') }] }),
          stat({
            title: 'Unreadable records',
            queries: [{ expression: highest('bms_node_records_invalid') }],
            limits: { warning: 1, critical: 1 },
          }),
          stat({
            title: 'Objects refused',
            description: 'BareMetalNodes that are wrong or collide: kubectl describe says why',
            queries: [{ expression: highest('bms_objects', [], where('bms_objects', 'accepted', 'false')) }],
            limits: { warning: 1, critical: 5 },
          }),
          stat({
            title: 'Notifications waiting',
            queries: [{ expression: highest('bms_notifications_pending') }],
            limits: { warning: 10, critical: 100 },
          }),
          stat({
            title: 'Notifications given up',
            queries: [{ expression: highest('bms_notifications_dead') }],
            limits: { warning: 1, critical: 10 },
          }),
        ],
      },
      {
        height: 9,
        panels: [
          graph({
            title: 'Machines by state',
            stacked: true,
            queries: [{ expression: highest('bms_nodes', ['state']), legend: '{{state}}' }],
          }),
          graph({
            title: 'Transitions a minute',
            unit: 'cpm',
            queries: [{ expression: perMinute('bms_node_transitions_total', ['from', 'to']), legend: '{{from}} → {{to}}' }],
          }),
        ],
      },
      {
        height: 9,
        panels: [
          graph({
            title: 'Time in a state, median',
            unit: 's',
            queries: [{ expression: quantile(0.5, 'bms_node_state_seconds', ['state']), legend: '{{state}}' }],
          }),
          graph({
            title: 'Time in a state, 95 %',
            unit: 's',
            queries: [{ expression: quantile(0.95, 'bms_node_state_seconds', ['state']), legend: '{{state}}' }],
          }),
        ],
      },
      {
        height: 8,
        panels: [
          graph({
            title: 'BMCs',
            stacked: true,
            queries: [{ expression: total('bms_bmcs', ['state']), legend: '{{state}}' }],
          }),
          graph({
            title: 'Looks at the power a minute',
            unit: 'cpm',
            queries: [
              { expression: perMinute('bms_power_sync_looks_total'), legend: 'looks' },
              { expression: perMinute('bms_power_sync_failures_total'), legend: 'without an answer' },
              { expression: perMinute('bms_power_sync_late_total'), legend: 'left out' },
            ],
          }),
          graph({
            title: 'What came of it, a minute',
            unit: 'cpm',
            queries: [
              { expression: perMinute('bms_power_sync_writes_total'), legend: 'records changed' },
              { expression: perMinute('bms_power_sync_claims_total'), legend: 'machines claimed' },
              { expression: perMinute('bms_remedies_held_total'), legend: 'remedies held back' },
            ],
          }),
        ],
      },
      {
        height: 8,
        panels: [
          graph({
            title: 'Requests a minute',
            unit: 'cpm',
            queries: [{ expression: perMinute('bms_http_requests_total', ['operation']), legend: '{{operation}}' }],
          }),
          graph({
            title: 'Failing and refused requests a minute',
            unit: 'cpm',
            queries: [
              {
                expression: perMinute(
                  'bms_http_requests_total',
                  ['operation', 'status'],
                  where('bms_http_requests_total', 'status', '5..'),
                ),
                legend: '{{operation}} {{status}}',
              },
              { expression: perMinute('bms_http_refused_total', ['reason']), legend: 'refused: {{reason}}' },
            ],
          }),
          graph({
            title: 'Time to an answer, 99 %',
            unit: 's',
            queries: [{ expression: quantile(0.99, 'bms_http_request_duration_seconds', ['operation']), legend: '{{operation}}' }],
          }),
        ],
      },
      {
        height: 8,
        panels: [
          graph({
            title: 'Notifications a minute',
            unit: 'cpm',
            queries: [{ expression: perMinute('bms_notification_deliveries_total', ['result']), legend: '{{result}}' }],
          }),
          graph({
            title: 'Calls of the store a minute, other than reads that went well',
            unit: 'cpm',
            queries: [
              {
                expression: perMinute(
                  'bms_store_calls_total',
                  ['operation'],
                  where('bms_store_calls_total', 'operation', 'create|update|delete'),
                ),
                legend: '{{operation}}',
              },
              {
                expression: perMinute(
                  'bms_store_calls_total',
                  ['operation', 'result'],
                  where('bms_store_calls_total', 'result', '[A-Z_]+|other'),
                ),
                legend: '{{operation}}: {{result}}',
              },
            ],
          }),
          graph({
            title: 'Event streams',
            queries: [
              { expression: total('bms_event_streams'), legend: 'open' },
              { expression: perMinute('bms_event_resets_total'), legend: 'resets a minute' },
            ],
          }),
        ],
      },
    ],
  });
}
