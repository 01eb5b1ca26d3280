import { nodeNetwork } from '../../../src/runtime/core/node-network.ts';
import { describeNetwork } from './network-contract.ts';

describeNetwork('nodeNetwork', () => ({
  server: nodeNetwork,
  client: nodeNetwork,
  serverAddress: '127.0.0.1',
  clientAddress: '127.0.0.2',
  run: (work) => work,
}));
