/**
 * Everything that the API can be asked, one row each: the server must have a handler for every row, the OpenAPI document is written from
 * the rows, bmctl finds its paths here, and one test holds every row to its schema, role and answers. A new verb is a new row.
 */
import type { z } from 'zod';
import { bmcsOperations } from './operations/bmcs.ts';
import { catalogOperations } from './operations/catalog.ts';
import { daemonOperations } from './operations/daemon.ts';
import { eventsOperations } from './operations/events.ts';
import { instancesOperations } from './operations/instances.ts';
import { nodesOperations } from './operations/nodes.ts';
import { notificationsOperations } from './operations/notifications.ts';
import { novaOperations } from './operations/nova.ts';
import type { Operation } from './operations/operation.ts';
import { verbsOperations } from './operations/verbs.ts';

export type { Operation } from './operations/operation.ts';

export const operations = {
  ...daemonOperations,
  ...nodesOperations,
  ...verbsOperations,
  ...catalogOperations,
  ...instancesOperations,
  ...eventsOperations,
  ...bmcsOperations,
  ...notificationsOperations,
  ...novaOperations,
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
