/** What the operator reports of a cluster. */
import { z } from 'zod';

/** Entries of status.history that are kept; older ones are dropped. */
export const HISTORY_LIMIT = 32;

const time = z.iso.datetime();

const condition = z.strictObject({
  type: z.string(),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: z.string(),
  message: z.string().optional(),
  lastTransitionTime: time,
  observedGeneration: z.int().optional(),
});

const componentStatus = z.strictObject({
  kind: z.string().optional().describe('Deployment, DaemonSet or CronJob.'),
  phase: z
    .enum(['Pending', 'Progressing', 'Ready', 'Failed', 'Disabled', 'Waiting'])
    .describe('Waiting: for its layer, its window or its nodes.'),
  image: z.string().optional().describe('Image that runs.'),
  observedGeneration: z.int().optional().describe('Generation of the cluster that it was last brought to.'),
  ready: z.int().optional(),
  desired: z.int().optional(),
  configDrift: z.boolean().optional().describe('Its ConfigMap was edited and is kept as it is.'),
  message: z.string().optional(),
});

const history = z.strictObject({
  revision: z.int().min(1),
  who: z.string().describe('User or program that asked for it.'),
  when: time,
  component: z.string().optional().describe('Absent: the whole cluster.'),
  from: z.string().optional(),
  to: z.string(),
  outcome: z.enum(['InProgress', 'Succeeded', 'Failed', 'RolledBack', 'Superseded']),
  message: z.string().optional(),
});

const plan = z.strictObject({
  hash: z.string().describe('Of the changes; what an approval names.'),
  waitingFor: z.string().optional().describe('Why nothing happens now, e.g. the next window.'),
  notBefore: time.optional(),
  changes: z.array(z.strictObject({ component: z.string(), what: z.string(), from: z.string().optional(), to: z.string().optional() })),
});

export const clusterStatusSchema = z
  .strictObject({
    observedGeneration: z.int().optional().describe('Generation of the spec that the status speaks of.'),
    phase: z.enum(['Pending', 'Installing', 'Running', 'Upgrading', 'RollingBack', 'Degraded', 'Paused', 'Deleting']).optional(),
    conditions: z.array(condition).optional().describe('Standard conditions: Ready, Progressing, Degraded, ConfigDrift.'),
    clusterId: z.string().optional(),
    version: z.string().optional().describe('Version in force: what every component last became ready with.'),
    regionId: z.string().optional(),
    zoneId: z.string().optional(),
    components: z.record(z.string(), componentStatus).optional().describe('By component name, e.g. glance.'),
    history: z.array(history).max(HISTORY_LIMIT).optional().describe('Versions, the newest last.'),
    plan: plan.optional().describe('What would change next.'),
  })
  .describe('The cluster as last seen.');

export type ClusterStatus = z.infer<typeof clusterStatusSchema>;
export type ComponentStatus = z.infer<typeof componentStatus>;
export type VersionChange = z.infer<typeof history>;
export type UpdatePlan = z.infer<typeof plan>;
