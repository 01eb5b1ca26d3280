/** The OpenAPI 3.1 document, written from the operations and their schemas: docs/openapi.json and GET /v1/openapi.json. */

import { z } from 'zod';
import { bootReport } from './boot.ts';
import * as catalog from './catalog.ts';
import { apiEvent } from './event.ts';
import * as instances from './instance.ts';
import * as nodes from './node.ts';
import { deadLetter, notification, notificationState } from './notification.ts';
import * as nova from './nova.ts';
import { COMMON_REFUSALS, type Operation, operations } from './operations.ts';
import { problem } from './problem.ts';
import { roleHelp, roles } from './roles.ts';

/** Components by name; a schema that is none is written where it is used. */
const components: Readonly<Record<string, z.ZodType>> = {
  NodeSummary: nodes.nodeSummary,
  NodeDetail: nodes.nodeDetail,
  NodePage: nodes.nodePage,
  NodeProperties: nodes.nodeProperties,
  NodeTimeline: nodes.nodeTimeline,
  NodeHistory: nodes.nodeHistory,
  HistoryEntry: nodes.historyEntry,
  TimelineEntry: nodes.timelineEntry,
  Enrolment: nodes.enrolRequest,
  NodeUpdate: nodes.nodeUpdate,
  InterfaceAdd: nodes.interfaceAdd,
  Maintenance: nodes.maintenanceRequest,
  Fault: nodes.fault,
  FaultReport: nodes.faultReport,
  Reboot: nodes.rebootRequest,
  Rebuild: nodes.rebuildRequest,
  Inspect: nodes.inspectRequest,
  Clean: nodes.cleanRequest,
  Rescue: nodes.rescueRequest,
  Adopt: nodes.adoptRequest,
  AttachVolume: nodes.attachVolumeRequest,
  DetachVolume: nodes.detachVolumeRequest,
  PlugVifs: nodes.plugVifsRequest,
  Confirmation: nodes.confirmedBody,
  NoBody: nodes.noBody,
  Accepted: nodes.accepted,
  Explanation: nodes.explanation,
  BootReport: bootReport,
  Diagnosis: nodes.diagnosis,
  Image: catalog.image,
  ImageList: catalog.imageList,
  ImageRegistration: catalog.imageRegistration,
  Flavor: catalog.flavor,
  FlavorList: catalog.flavorList,
  FlavorRegistration: catalog.flavorRegistration,
  Instance: instances.instance,
  InstanceList: instances.instanceList,
  InstanceRequest: instances.instanceRequest,
  PlanRequest: instances.planRequest,
  Plan: instances.plan,
  Event: apiEvent,
  Notification: notification,
  DeadLetter: deadLetter,
  NotificationState: notificationState,
  NovaNode: nova.novaNode,
  NovaNodeList: nova.novaNodeList,
  NovaNodeShow: nova.novaNodeShow,
  NovaNodeCreate: nova.novaNodeCreate,
  NovaAction: nova.novaAction,
  Problem: problem,
};

const STATUS: Readonly<Record<number, string>> = {
  200: 'Done',
  201: 'Added',
  202: 'Accepted: the owner of the machine carries it out',
  204: 'Done',
  400: 'Malformed: not JSON, an unknown query parameter, an address that is none',
  401: 'No token, or one that is not known',
  403: 'The role of the token does not reach, or there are no tokens and the caller is on another machine',
  404: 'There is none',
  409: 'Its state does not allow it, or something else has that name',
  412: 'The record has another version than If-Match says, or the plan is not true any more',
  422: 'A field is wrong: the message names it',
  428: 'Data would be lost: confirm with `yes` or the hash of a plan',
  429: 'More requests than [api] rate_limit allows',
  503: 'Not now: the message says why',
};

type Json = Record<string, unknown>;

export function openApiDocument(version: string): Json {
  const registry = z.registry<{ id: string }>();
  for (const [name, schema] of Object.entries(components)) registry.add(schema, { id: name });
  const reference = (name: string): string => `#/components/schemas/${name}`;
  const written = {
    input: z.toJSONSchema(registry, { uri: reference, io: 'input', unrepresentable: 'any' }).schemas,
    output: z.toJSONSchema(registry, { uri: reference, io: 'output', unrepresentable: 'any', override: open }).schemas,
  };
  const names = new Map([...Object.entries(components)].map(([name, schema]) => [schema, name]));
  const inputs = new Set<string>();
  for (const row of Object.values<Operation>(operations)) {
    const name = row.body && names.get(row.body);
    if (name !== undefined) inputs.add(name);
  }
  const schemaOf = (schema: z.ZodType, io: 'input' | 'output'): Json => {
    const name = names.get(schema);
    return name === undefined
      ? bare(z.toJSONSchema(schema, { io, unrepresentable: 'any', ...(io === 'output' && { override: open }) }))
      : { $ref: reference(name) };
  };
  const paths: Record<string, Json> = {};
  for (const [id, row] of Object.entries<Operation>(operations)) {
    const path = row.path.replaceAll(/:([a-z]+)/g, '{$1}');
    paths[path] = { ...paths[path], [row.method.toLowerCase()]: operation(id, row, schemaOf) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'bms-core',
      version,
      description:
        'Bare metal machines: enrol them, put images on them, see what happens and why. Refusals have a stable code, a message with the offending value, and a cure.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://127.0.0.1:7081' }],
    security: [{ token: [] }],
    tags: [...new Set(Object.values(operations).map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: `A token of [api] tokens_file. Roles: ${roles.map((role) => `${role} ${roleHelp[role]}`).join('; ')}.`,
        },
      },
      schemas: Object.fromEntries(
        Object.keys(components).map((name) => [name, bare(written[inputs.has(name) ? 'input' : 'output'][name] ?? {})]),
      ),
    },
  };
}

function operation(id: string, row: Operation, schemaOf: (schema: z.ZodType, io: 'input' | 'output') => Json): Json {
  const parameters = [
    ...[...row.path.matchAll(/:([a-z]+)/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
    ...queryParameters(row),
    ...(row.method === 'POST' && row.role !== 'reader'
      ? [header('Idempotency-Key', 'The same key again answers what the first request did, and does nothing')]
      : []),
    ...(row.ifMatch ? [header('If-Match', 'The ETag that the change is meant for')] : []),
    ...(row.media === 'text/event-stream' ? [header('Last-Event-ID', 'Go on after this event')] : []),
  ];
  const refusals = [...new Set([...(row.role === 'public' ? [] : COMMON_REFUSALS), ...row.refusals])].sort((a, b) => a - b);
  return {
    operationId: id,
    summary: row.summary,
    tags: [row.tag],
    'x-role': row.role,
    ...(row.role === 'public' && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(row.body && {
      requestBody: { required: row.bodyOptional !== true, content: { 'application/json': { schema: schemaOf(row.body, 'input') } } },
    }),
    responses: {
      [row.status]: {
        description: STATUS[row.status],
        ...(row.etag && { headers: { ETag: { description: 'Version of the record', schema: { type: 'string' } } } }),
        ...(row.media && { content: { [row.media]: { schema: { type: 'string' } } } }),
        ...(row.answer && !row.media && { content: { 'application/json': { schema: schemaOf(row.answer, 'output') } } }),
      },
      ...Object.fromEntries(
        refusals.map((status) => [
          status,
          { description: STATUS[status], content: { 'application/json': { schema: { $ref: '#/components/schemas/Problem' } } } },
        ]),
      ),
    },
  };
}

function queryParameters(row: Operation): Json[] {
  if (!row.query) return [];
  const { properties = {}, required = [] } = z.toJSONSchema(row.query, { io: 'input', unrepresentable: 'any' });
  return Object.entries(properties).map(([name, schema]) => {
    const { description, ...rest } = typeof schema === 'object' ? schema : {};
    return { name, in: 'query', required: required.includes(name), ...(description !== undefined && { description }), schema: rest };
  });
}

function header(name: string, description: string): Json {
  return { name, in: 'header', required: false, description, schema: { type: 'string' } };
}

/** A newer server may say more: clients that were generated from this document must not refuse it. */
function open({ jsonSchema }: { readonly jsonSchema: { additionalProperties?: unknown } }): void {
  if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
}

function bare(schema: object): Json {
  const { $schema: _schema, $id: _id, id: _name, ...rest } = schema as Json;
  return rest;
}
