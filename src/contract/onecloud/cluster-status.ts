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
  databaseVersion: z
    .string()
    .optional()
    .describe('Version of the program that last brought its tables up. No rollback of images undoes it.'),
  message: z.string().optional(),
});

const databaseDump = z.strictObject({
  state: z.enum(['Pending', 'Taken', 'NotTaken', 'Failed']),
  message: z.string().optional().describe('Where the dump is, or why there is none.'),
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
  databaseDump: databaseDump.optional().describe('The dump before it; absent when it could not migrate anything.'),
  migrated: z.array(z.string()).optional().describe('Components whose tables it brought to another version.'),
  notRolledBack: z.array(z.string()).optional().describe('Components whose tables stay newer than their program, as was accepted.'),
});

const plan = z.strictObject({
  hash: z.string().describe('Of the changes; what an approval names.'),
  waitingFor: z.string().optional().describe('Why nothing happens now, e.g. the next window.'),
  notBefore: time.optional(),
  databaseDump: z.string().optional().describe('Whether the databases are dumped first.'),
  changes: z.array(z.strictObject({ component: z.string(), what: z.string(), from: z.string().optional(), to: z.string().optional() })),
});

const waiting = z.strictObject({ generation: z.int(), revision: z.int(), layer: z.int(), since: time });

export const clusterStatusSchema = z
  .strictObject({
    observedGeneration: z.int().optional().describe('Generation of the spec that the status speaks of.'),
    phase: z.enum(['Pending', 'Installing', 'Running', 'Upgrading', 'RollingBack', 'Degraded', 'Paused', 'Deleting']).optional(),
    conditions: z
      .array(condition)
      .optional()
      .describe('Ready, Progressing, Degraded, ConfigDrift, Accepted, DatabasesReady, IdentityReady, DatabaseBackup, DatabasesDropped.'),
    clusterId: z.string().optional(),
    version: z.string().optional().describe('Version in force: what every component last became ready with.'),
    regionId: z.string().optional(),
    zoneId: z.string().optional(),
    components: z.record(z.string(), componentStatus).optional().describe('By component name, e.g. glance.'),
    history: z.array(history).max(HISTORY_LIMIT).optional().describe('Versions, the newest last.'),
    waiting: waiting.optional().describe('The layer that is waited for, and since when: its deadline holds for the next operator too.'),
    databases: z
      .array(z.strictObject({ name: z.string(), user: z.string(), server: z.string().describe('Host and port.') }))
      .optional()
      .describe('Databases and accounts that were made or taken over; what databasePolicy Drop drops.'),
    plan: plan.optional().describe('What would change next.'),
  })
  .describe('The cluster as last seen.');

export type ClusterStatus = z.infer<typeof clusterStatusSchema>;
export type ComponentStatus = z.infer<typeof componentStatus>;
export type VersionChange = z.infer<typeof history>;
export type UpdatePlan = z.infer<typeof plan>;
