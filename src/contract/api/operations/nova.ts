/** As nova had it. */
import { novaAction, novaInterfaceShow, novaNodeCreate, novaNodeList, novaNodeShow } from '../nova.ts';
import type { Operation } from './operation.ts';

export const novaOperations = {
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
