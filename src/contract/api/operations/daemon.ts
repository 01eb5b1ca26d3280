/** The daemon itself. */
import { z } from 'zod';
import type { Operation } from './operation.ts';

export const daemonOperations = {
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
} as const satisfies Record<string, Operation>;
