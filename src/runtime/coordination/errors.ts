import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const coordinationErrors = defineErrors('COORDINATION', {
  COORDINATION_URL: entry<{ url: string }>({
    message: ({ url }) => `the coordination URL "${url}" names no service that this program knows`,
    cure: 'Use memory:// for a single management node',
  }),
  COORDINATION_LOST: entry<{ member: string; reason: string }>({
    message: ({ member, reason }) => `the member ${member} is no longer in the group: ${reason}`,
    cure: 'Nothing, if this passes: the daemon joins again. Otherwise check the coordination service and the network to it',
  }),
  COORDINATION_CLOSED: entry<Record<never, never>>({
    message: () => 'the coordination client is closed',
    cure: 'Close it last, after everything that uses it',
  }),
});
