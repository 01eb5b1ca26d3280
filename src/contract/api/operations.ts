/**
 * Everything that the API can be asked, one row each: the server must have a handler for every row, the OpenAPI document is written from
 * the rows, bmctl finds its paths here, and one test holds every row to its schema, role and answers. A new verb is a new row.
 */
import { z } from 'zod';
import { bmcList, bmcRetried } from './bmc.ts';
import { bootReport } from './boot.ts';
import { flavor, flavorList, flavorRegistration, image, imageList, imageRegistration } from './catalog.ts';
import { instance, instanceList, instanceRequest, plan, planRequest } from './instance.ts';
import {
  accepted,
  adoptRequest,
  attachVolumeRequest,
  cleanRequest,
  confirmedBody,
  detachVolumeRequest,
  diagnosis,
  enrolRequest,
  explanation,
  inspectRequest,
  interfaceAdd,
  maintenanceRequest,
  noBody,
  nodeDetail,
  nodeHistory,
  nodePage,
  nodeTimeline,
  nodeUpdate,
  plugVifsRequest,
  rebootRequest,
  rebuildRequest,
  rescueRequest,
} from './node.ts';
import { notificationState } from './notification.ts';
import { novaAction, novaInterfaceShow, novaNodeCreate, novaNodeList, novaNodeShow } from './nova.ts';
import type { Role } from './roles.ts';

export interface Operation {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Segments that begin with ":" stand for one segment of the caller's. */
  readonly path: string;
  /** `public`: no token, from anywhere. */
  readonly role: Role | 'public';
  readonly tag: 'daemon' | 'nodes' | 'verbs' | 'catalog' | 'instances' | 'events' | 'notifications' | 'nova';
  readonly summary: string;
  readonly query?: z.ZodObject;
  /** JSON. Absent: a body is refused. */
  readonly body?: z.ZodType;
  /** Whether an empty body stands for `{}`. */
  readonly bodyOptional?: true | undefined;
  /** Status of success, and what comes with it. */
  readonly status: 200 | 201 | 202 | 204;
  readonly answer?: z.ZodType;
  /** Default: application/json. */
  readonly media?: 'text/event-stream' | 'text/plain';
  /** Statuses of refusals that are its own, beside those of every operation. */
  readonly refusals: readonly number[];
  /** The answer carries the record's version as ETag. */
  readonly etag?: true;
  /** If-Match is honoured: the change is made to that version of the record or not at all. */
  readonly ifMatch?: true;
  /** Data is lost: `yes` or the hash of a plan is asked for. */
  readonly harms?: true;
}

const paging = {
  limit: z.coerce.number().int().min(1).max(1000).default(100).describe('Most entries of a page'),
  cursor: z.string().max(256).optional().describe('`next` of the page before'),
};

const verb = <const P extends string>(path: P, summary: string) =>
  ({
    method: 'POST',
    path: `/v1/nodes/:node/${path}`,
    role: 'operator',
    tag: 'verbs',
    summary,
    body: noBody,
    bodyOptional: true,
    status: 202,
    answer: accepted,
    refusals: [404, 409, 412],
    etag: true,
    ifMatch: true,
  }) as const;

export const operations = {
  // the daemon
  healthz: {
    method: 'GET',
    path: '/healthz',
    role: 'public',
    tag: 'daemon',
    summary: 'The process answers',
    status: 200,
    media: 'text/plain',
    refusals: [],
  },
  readyz: {
    method: 'GET',
    path: '/readyz',
    role: 'public',
    tag: 'daemon',
    summary: 'It is ready for work; 503 says why not',
    status: 200,
    media: 'text/plain',
    refusals: [503],
  },
  metrics: {
    method: 'GET',
    path: '/metrics',
    role: 'reader',
    tag: 'daemon',
    summary: 'Metrics in the text format of Prometheus 0.0.4; docs/api.md lists them',
    status: 200,
    media: 'text/plain',
    refusals: [],
  },
  openapi: {
    method: 'GET',
    path: '/v1/openapi.json',
    role: 'public',
    tag: 'daemon',
    summary: 'This document',
    status: 200,
    answer: z.looseObject({ openapi: z.string() }),
    refusals: [],
  },

  // machines
  listNodes: {
    method: 'GET',
    path: '/v1/nodes',
    role: 'reader',
    tag: 'nodes',
    summary: 'Machines by their number',
    query: z.object({
      ...paging,
      state: z.string().max(255).optional().describe('One or more states, comma-separated'),
      name: z.string().max(64).optional().describe('Names that contain this'),
      maintenance: z.enum(['true', 'false']).optional(),
      free: z.enum(['true', 'false']).optional().describe('Without or with an instance'),
    }),
    status: 200,
    answer: nodePage,
    refusals: [422],
  },
  enrolNode: {
    method: 'POST',
    path: '/v1/nodes',
    role: 'admin',
    tag: 'nodes',
    summary: 'Enrol a machine. Its password is kept in the secret store and never given out',
    body: enrolRequest,
    status: 201,
    answer: nodeDetail,
    refusals: [409, 422],
    etag: true,
  },
  showNode: {
    method: 'GET',
    path: '/v1/nodes/:node',
    role: 'reader',
    tag: 'nodes',
    summary: 'One machine, by name, UUID, number or MAC address',
    status: 200,
    answer: nodeDetail,
    refusals: [404],
    etag: true,
  },
  updateNode: {
    method: 'PATCH',
    path: '/v1/nodes/:node',
    role: 'admin',
    tag: 'nodes',
    summary: 'Correct what was given at enrolment',
    body: nodeUpdate,
    status: 200,
    answer: nodeDetail,
    refusals: [404, 409, 412, 422],
    etag: true,
    ifMatch: true,
  },
  removeNode: {
    method: 'DELETE',
    path: '/v1/nodes/:node',
    role: 'admin',
    tag: 'nodes',
    summary: 'Forget a machine. Nothing is powered off or wiped; one with an instance is refused',
    status: 204,
    refusals: [404, 409, 412],
    ifMatch: true,
  },
  addInterface: {
    method: 'POST',
    path: '/v1/nodes/:node/interfaces',
    role: 'admin',
    tag: 'nodes',
    summary: 'Add a network interface',
    body: interfaceAdd,
    status: 201,
    answer: nodeDetail,
    refusals: [404, 409, 412, 422],
    etag: true,
    ifMatch: true,
  },
  removeInterface: {
    method: 'DELETE',
    path: '/v1/nodes/:node/interfaces/:mac',
    role: 'admin',
    tag: 'nodes',
    summary: 'Remove a network interface; the last one stays',
    status: 204,
    refusals: [404, 409, 412, 422],
    ifMatch: true,
  },
  nodeHistory: {
    method: 'GET',
    path: '/v1/nodes/:node/history',
    role: 'reader',
    tag: 'nodes',
    summary: 'Its last transitions, each with its reason and duration',
    status: 200,
    answer: nodeHistory,
    refusals: [404],
  },
  nodeTimeline: {
    method: 'GET',
    path: '/v1/nodes/:node/timeline',
    role: 'reader',
    tag: 'nodes',
    summary: 'What was seen of it and what was decided, in one order of time',
    status: 200,
    answer: nodeTimeline,
    refusals: [404],
  },
  diagnoseNode: {
    method: 'GET',
    path: '/v1/nodes/:node/diagnosis',
    role: 'reader',
    tag: 'nodes',
    summary: 'How it is, from what was really observed, and what to do',
    status: 200,
    answer: diagnosis,
    refusals: [404],
  },
  explainMac: {
    method: 'GET',
    path: '/v1/explain/:machine',
    role: 'reader',
    tag: 'nodes',
    summary: 'What a machine (also one that is not enrolled: by its MAC address) would be answered if it booted now, and why',
    status: 200,
    answer: explanation,
    refusals: [404],
  },
  bootReport: {
    method: 'GET',
    path: '/v1/boot',
    role: 'reader',
    tag: 'nodes',
    summary: 'What is wrong with the provisioning networks as this replica sees them, and who wanted to boot and is not enrolled',
    status: 200,
    answer: bootReport,
    refusals: [],
  },

  // verbs: accepted here, carried out by the machine's owner
  powerOnNode: verb('power-on', 'Power on a machine in use'),
  powerOffNode: verb('power-off', 'Cut the power of a machine in use'),
  rebootNode: { ...verb('reboot', 'Reboot a machine in use'), body: rebootRequest },
  destroyNode: {
    ...verb('destroy', 'End its instance: power off, clean up, make it free'),
    body: confirmedBody,
    refusals: [404, 409, 412, 428],
    harms: true,
  },
  rebuildNode: {
    ...verb('rebuild', 'Write the image of its instance anew, or another one'),
    body: rebuildRequest,
    refusals: [404, 409, 412, 428],
    harms: true,
  },
  retryNode: verb('retry', 'Of a machine in `error`: try again what failed'),
  abortNode: verb('abort', 'Interrupt what is under way, and clean up'),
  unstickNode: verb('unstick', 'Take it from an owner that does nothing, and begin its state again'),
  inspectNode: { ...verb('inspect', 'Boot the ramdisk and read the hardware'), body: inspectRequest },
  cleanNode: {
    ...verb('clean', 'Wipe the disk of a machine without an instance'),
    body: cleanRequest,
    refusals: [404, 409, 412, 428],
    harms: true,
  },
  rescueNode: { ...verb('rescue', 'Boot a machine in use into the ramdisk; its disk is not touched'), body: rescueRequest },
  unrescueNode: verb('unrescue', 'Boot it from its disk again'),
  manageNode: verb('manage', 'Take a free machine out of use'),
  provideNode: verb('provide', 'Put it into use again'),
  adoptNode: {
    ...verb('adopt', 'Take over an instance that runs on it already, without touching power or disk'),
    body: adoptRequest,
    bodyOptional: undefined,
    role: 'admin',
  },
  attachVolume: { ...verb('attach-volume', 'Give a volume to its instance'), body: attachVolumeRequest, bodyOptional: undefined },
  detachVolume: { ...verb('detach-volume', 'Take a volume from its instance'), body: detachVolumeRequest, bodyOptional: undefined },
  plugVifs: { ...verb('plug-vifs', 'Set the virtual interfaces of its instance'), body: plugVifsRequest, bodyOptional: undefined },
  maintainNode: {
    ...verb('maintenance', 'Keep everything from changing its power and disks, or let it again'),
    body: maintenanceRequest,
    bodyOptional: undefined,
  },

  // images and flavors
  listImages: {
    method: 'GET',
    path: '/v1/images',
    role: 'reader',
    tag: 'catalog',
    summary: 'Images',
    status: 200,
    answer: imageList,
    refusals: [],
  },
  registerImage: {
    method: 'POST',
    path: '/v1/images',
    role: 'admin',
    tag: 'catalog',
    summary: 'Register a file of [pxe] user_image_dir; it is read whole and its SHA-256 computed',
    body: imageRegistration,
    status: 201,
    answer: image,
    refusals: [404, 409, 422],
    etag: true,
  },
  showImage: {
    method: 'GET',
    path: '/v1/images/:image',
    role: 'reader',
    tag: 'catalog',
    summary: 'One image',
    status: 200,
    answer: image,
    refusals: [404],
    etag: true,
  },
  removeImage: {
    method: 'DELETE',
    path: '/v1/images/:image',
    role: 'admin',
    tag: 'catalog',
    summary: 'Forget an image; its file stays. One that is being deployed is refused',
    status: 204,
    refusals: [404, 409],
  },
  listFlavors: {
    method: 'GET',
    path: '/v1/flavors',
    role: 'reader',
    tag: 'catalog',
    summary: 'Flavors',
    status: 200,
    answer: flavorList,
    refusals: [],
  },
  createFlavor: {
    method: 'POST',
    path: '/v1/flavors',
    role: 'admin',
    tag: 'catalog',
    summary: 'Add a flavor: what a machine must have',
    body: flavorRegistration,
    status: 201,
    answer: flavor,
    refusals: [409, 422],
    etag: true,
  },
  showFlavor: {
    method: 'GET',
    path: '/v1/flavors/:flavor',
    role: 'reader',
    tag: 'catalog',
    summary: 'One flavor',
    status: 200,
    answer: flavor,
    refusals: [404],
    etag: true,
  },
  removeFlavor: {
    method: 'DELETE',
    path: '/v1/flavors/:flavor',
    role: 'admin',
    tag: 'catalog',
    summary: 'Forget a flavor',
    status: 204,
    refusals: [404],
  },

  // instances
  listInstances: {
    method: 'GET',
    path: '/v1/instances',
    role: 'reader',
    tag: 'instances',
    summary: 'Instances with their machines',
    query: z.object(paging),
    status: 200,
    answer: instanceList,
    refusals: [422],
  },
  spawnInstance: {
    method: 'POST',
    path: '/v1/instances',
    role: 'operator',
    tag: 'instances',
    summary: 'Put an image on a machine: a named one, or the smallest sufficient one of the flavor. Its disk is overwritten',
    body: instanceRequest,
    status: 202,
    answer: instance,
    refusals: [404, 409, 412, 422, 428],
    harms: true,
  },
  showInstance: {
    method: 'GET',
    path: '/v1/instances/:instance',
    role: 'reader',
    tag: 'instances',
    summary: 'One instance, by UUID or name',
    status: 200,
    answer: instance,
    refusals: [404],
  },
  destroyInstance: {
    method: 'POST',
    path: '/v1/instances/:instance/destroy',
    role: 'operator',
    tag: 'instances',
    summary: 'End an instance: power off, clean up, make its machine free',
    body: confirmedBody,
    bodyOptional: true,
    status: 202,
    answer: accepted,
    refusals: [404, 409, 412, 428],
    harms: true,
  },
  plan: {
    method: 'POST',
    path: '/v1/plan',
    role: 'reader',
    tag: 'instances',
    summary: 'What a verb would do, with a hash that the verb takes as its confirmation. Changes nothing',
    body: planRequest,
    status: 200,
    answer: plan,
    refusals: [404, 409, 422],
  },

  // events
  events: {
    method: 'GET',
    path: '/v1/events',
    role: 'reader',
    tag: 'events',
    summary: 'Server-sent events; Last-Event-ID resumes',
    query: z.object({
      node: z.string().max(128).optional().describe('Of this machine only'),
      once: z
        .enum(['true', 'false'])
        .optional()
        .describe('End the answer after the first events, or when a heartbeat is due: for clients that cannot read a stream'),
    }),
    status: 200,
    media: 'text/event-stream',
    refusals: [404, 503],
  },

  // BMCs
  listBmcs: {
    method: 'GET',
    path: '/v1/bmcs',
    role: 'reader',
    tag: 'nodes',
    summary: 'How it stands with each BMC that this replica has asked',
    status: 200,
    answer: bmcList,
    refusals: [],
  },
  retryBmc: {
    method: 'POST',
    path: '/v1/nodes/:node/bmc/retry',
    role: 'operator',
    tag: 'verbs',
    summary: "Lift the stop of a machine's BMC that refused its credentials, and ask a silent one at once",
    body: noBody,
    bodyOptional: true,
    status: 200,
    answer: bmcRetried,
    refusals: [404],
  },

  // notifications to bms_control
  listNotifications: {
    method: 'GET',
    path: '/v1/notifications',
    role: 'reader',
    tag: 'notifications',
    summary: 'Notifications to [center] scheduler_callback that wait, and those that were given up',
    status: 200,
    answer: notificationState,
    refusals: [],
  },
  retryNotification: {
    method: 'POST',
    path: '/v1/notifications/:notification/retry',
    role: 'admin',
    tag: 'notifications',
    summary: 'Send one that was given up again',
    body: noBody,
    bodyOptional: true,
    status: 202,
    refusals: [404],
  },
  dropNotification: {
    method: 'DELETE',
    path: '/v1/notifications/:notification',
    role: 'admin',
    tag: 'notifications',
    summary: 'Forget one that was given up',
    status: 204,
    refusals: [404],
  },

  // as nova had it
  novaList: {
    method: 'GET',
    path: '/v2/:tenant/os-baremetal-nodes',
    role: 'reader',
    tag: 'nova',
    summary: 'nova baremetal-node-list',
    status: 200,
    answer: novaNodeList,
    refusals: [],
  },
  novaShow: {
    method: 'GET',
    path: '/v2/:tenant/os-baremetal-nodes/:node',
    role: 'reader',
    tag: 'nova',
    summary: 'nova baremetal-node-show',
    status: 200,
    answer: novaNodeShow,
    refusals: [404],
  },
  novaCreate: {
    method: 'POST',
    path: '/v2/:tenant/os-baremetal-nodes',
    role: 'admin',
    tag: 'nova',
    summary: 'nova baremetal-node-create',
    body: novaNodeCreate,
    status: 200,
    answer: novaNodeShow,
    refusals: [400, 409, 422],
  },
  novaDelete: {
    method: 'DELETE',
    path: '/v2/:tenant/os-baremetal-nodes/:node',
    role: 'admin',
    tag: 'nova',
    summary: 'nova baremetal-node-delete',
    status: 202,
    refusals: [404, 409],
  },
  novaAction: {
    method: 'POST',
    path: '/v2/:tenant/os-baremetal-nodes/:node/action',
    role: 'admin',
    tag: 'nova',
    summary: 'nova baremetal-interface-add and baremetal-interface-remove',
    body: novaAction,
    status: 200,
    answer: novaInterfaceShow.partial(),
    refusals: [400, 404, 409, 422],
  },
} as const satisfies Record<string, Operation>;

export type Operations = typeof operations;
export type OperationId = keyof Operations;

/** `/v1/nodes/:node/interfaces/:mac` → `'node' | 'mac'`. */
export type ParametersOf<P extends string> = P extends `${infer Segment}/${infer Rest}`
  ? ParameterOf<Segment> | ParametersOf<Rest>
  : ParameterOf<P>;
type ParameterOf<S extends string> = S extends `:${infer Name}` ? Name : never;

type SchemaOf<Id extends OperationId, K extends 'query' | 'body' | 'answer'> =
  Operations[Id] extends Record<K, infer S extends z.ZodType> ? S : undefined;
type Read<S> = S extends z.ZodType ? z.output<S> : undefined;
export type QueryOf<Id extends OperationId> = Read<SchemaOf<Id, 'query'>>;
export type BodyOf<Id extends OperationId> = Read<SchemaOf<Id, 'body'>>;
export type AnswerOf<Id extends OperationId> = Read<SchemaOf<Id, 'answer'>>;
export type PathParameters<Id extends OperationId> = Readonly<Record<ParametersOf<Operations[Id]['path']>, string>>;

/** The path of an operation with its parameters filled in. */
export function pathOf<Id extends OperationId>(operation: Id, parameters: PathParameters<Id>): string {
  const given: Readonly<Record<string, string>> = parameters;
  return operations[operation].path.replaceAll(/:([a-z]+)/g, (_, name: string) => encodeURIComponent(given[name] ?? ''));
}

/** What is refused for every operation: 400 malformed, 401 no or a wrong token, 403 too low a role, 413 too large, 429 too often. */
export const COMMON_REFUSALS = [400, 401, 403, 429] as const;
