import { defineConfig } from 'vitest/config';
import { SecondTries } from './test/support/second-tries.ts';

/** Suites that speak to other programs in real time: servers are started, killed and stopped, and wait for their own timers. */
const PEERS = [
  'test/cluster/**/*.test.ts',
  'test/cli/demo.test.ts',
  'test/cli/**/real-*.test.ts',
  'test/constructs/kolla/cluster.test.ts',
  'test/constructs/onecloud/apply.test.ts',
  'test/operator/engine/{apply,http-api,reporting}.test.ts',
  'test/operator/**/real-*.test.ts',
  'test/runtime/boot/firmware.test.ts',
  'test/**/foreign-*.test.ts',
  'test/runtime/boot/tftp/peers.test.ts',
  'test/runtime/coordination/zookeeper.test.ts',
  'test/runtime/coordination/leases-cluster.test.ts',
  'test/runtime/deploy/fencing/processes.test.ts',
  'test/runtime/deploy/iscsi/{reservation,tgt}.test.ts',
  'test/runtime/machine/{places,processes,secrets}.test.ts',
  'test/runtime/machine/drivers/tgt.test.ts',
  'test/runtime/store/{contract,mysql}.test.ts',
];
const common = { testTimeout: 30_000, hookTimeout: 60_000, setupFiles: ['test/support/properties.ts'] };

export default defineConfig({
  test: {
    reporters: ['default', new SecondTries()],
    projects: [
      { test: { ...common, name: 'own', include: ['test/**/*.test.ts'], exclude: PEERS } },
      // a busy machine may make another program late once; whatever fails twice is a fault
      { test: { ...common, name: 'peers', include: PEERS, retry: process.env.CI ? 1 : 0 } },
    ],
  },
});
