/** Instances, and plans. */
import { z } from 'zod';
import { instance, instanceList, instanceRequest, plan, planRequest } from '../instance.ts';
import { accepted, confirmedBody } from '../node.ts';
import { type Operation, paging } from './operation.ts';

export const instancesOperations = {
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
} as const satisfies Record<string, Operation>;
