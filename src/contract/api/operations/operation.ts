/** A row of the table of operations, and what many rows have in common. */
import { z } from 'zod';
import { accepted, noBody } from '../node.ts';
import type { Role } from '../roles.ts';

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

export const paging = {
  limit: z.coerce.number().int().min(1).max(1000).default(100).describe('Most entries of a page'),
  cursor: z.string().max(256).optional().describe('`next` of the page before'),
};

export const verb = <const P extends string>(path: P, summary: string) =>
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
