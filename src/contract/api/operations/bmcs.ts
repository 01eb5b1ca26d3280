/** BMCs. */
import { bmcList, bmcRetried } from '../bmc.ts';
import { noBody } from '../node.ts';
import type { Operation } from './operation.ts';

export const bmcsOperations = {
  listBmcs: {
    method: 'GET',
    path: '/v1/bmcs',
    role: 'reader',
    tag: 'nodes',
    summary: 'How it stands with each BMC that this replica has asked by IPMI',
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
} as const satisfies Record<string, Operation>;
