/** Instances: an image on a machine of a flavor. The association is on the machine's record, so an instance is shown by its machine. */
import { z } from 'zod';
import { instanceNetwork } from '../instance-network/index.ts';
import { confirmation, id, name } from './names.ts';
import { attachVolumeRequest, detachVolumeRequest, nodeSummary, plugVifsRequest, wipeModes } from './node.ts';

export const instance = z.object({
  uuid: z.string(),
  name: z.string(),
  imageId: z.string(),
  flavorId: z.string().optional(),
  network: z
    .looseObject({ interfaces: z.array(z.looseObject({})) })
    .optional()
    .describe('As it was asked for'),
  since: z.string(),
  node: nodeSummary,
});

export const instanceList = z.object({ instances: z.array(instance), next: z.string().optional() });

const wish = {
  uuid: z.uuid().optional().describe('Default: a new one. It is the task of the notifications to bms_control'),
  name,
  imageId: id,
  flavorId: id.optional().describe('What the machine must have; needed unless `node` is given'),
  node: z.string().min(1).max(128).optional().describe('This machine and no other'),
  spread: z
    .strictObject({
      by: z.string().min(1).max(64).describe('The capability that names a failure domain, e.g. rack'),
      group: z.array(z.string().max(64)).max(1000).describe('UUIDs of the instances that belong together'),
      mode: z.enum(['among equals', 'prefer', 'require']).optional(),
    })
    .optional(),
  vifs: z.array(z.string().min(1).max(64)).max(32).optional(),
  volumes: z.array(z.string().min(1).max(255)).max(32).optional(),
  network: instanceNetwork.optional().describe('Addresses, routers and name servers that the instance is handed'),
};

const placed = ({ flavorId, node }: { flavorId?: string | undefined; node?: string | undefined }): boolean =>
  flavorId !== undefined || node !== undefined;

export const instanceRequest = z
  .strictObject({ ...wish, ...confirmation })
  .refine(placed, { error: 'flavorId or node must be given', path: ['flavorId'] });

const node = z.string().min(1).max(128);

export const planRequest = z.discriminatedUnion('verb', [
  z.strictObject({ verb: z.literal('spawn'), ...wish }).refine(placed, { error: 'flavorId or node must be given', path: ['flavorId'] }),
  z.strictObject({ verb: z.literal('rebuild'), node, imageId: id.optional(), preserveEphemeral: z.boolean().optional() }),
  z.strictObject({ verb: z.literal('clean'), node, wipe: z.enum(wipeModes).optional() }),
  attachVolumeRequest.pick({ volume: true }).extend({ verb: z.literal('attach volume'), node }),
  detachVolumeRequest.extend({ verb: z.literal('detach volume'), node }),
  plugVifsRequest.extend({ verb: z.literal('plug vifs'), node }),
  z.strictObject({ verb: z.enum(['destroy', 'reboot', 'power off', 'inspect', 'rescue', 'unrescue']), node }),
]);

export const plan = z.object({
  node: z.string(),
  verb: z.string(),
  steps: z.array(z.string()).describe('In order; what loses data begins with WIPE'),
  wipes: z.boolean(),
  expectedMinutes: z.number().describe('A guess'),
  hash: z.string().describe('Give it as `plan`: the verb is refused when anything in the plan has changed by then'),
});

export type InstanceView = z.infer<typeof instance>;
export type InstanceRequest = z.infer<typeof instanceRequest>;
export type PlanRequest = z.infer<typeof planRequest>;
export type PlanView = z.infer<typeof plan>;
