/** What the simulated world says when a scenario cannot go on. */
import { defineErrors, entry } from 'cdk8s-baremetal-contract';

const listed = (lines: readonly string[]): string =>
  lines.length ? lines.map((line) => `\n  - ${line}`).join('') : ' nothing that says so';

export const simulatorErrors = defineErrors('SIMULATOR', {
  SIMULATOR_DEADLOCK: entry<{ atMs: number; pending: readonly string[] }>({
    message: ({ atMs, pending }) =>
      `at ${atMs} ms nothing is left that could happen, yet the awaited work has not ended; waiting:${listed(pending)}`,
    cure: 'Find the promise that nobody settles; wrap real asynchronous work (a child process, a database client) in clock.external()',
  }),
  SIMULATOR_TIME_LIMIT: entry<{ limitMs: number; pending: readonly string[] }>({
    message: ({ limitMs, pending }) => `the awaited work did not end within ${limitMs} ms of simulated time; waiting:${listed(pending)}`,
    cure: 'Look for a retry that never succeeds, or give the run a larger limitMs',
  }),
  SIMULATOR_LIVELOCK: entry<{ atMs: number; timers: number }>({
    message: ({ atMs, timers }) => `${timers} timers fired at ${atMs} ms without time moving on`,
    cure: 'Look for a loop that sets timers of zero delay',
  }),
  SIMULATOR_ALREADY_RUNNING: entry<Record<string, never>>({
    message: () => 'the clock is already being run by another caller',
    cure: 'Start the second piece of work without a run of its own, and run both with Promise.all',
  }),
  SIMULATOR_BAD_ADDRESS: entry<{ host: string; address: string }>({
    message: ({ host, address }) => `host ${host} has the address ${address}, which is not an IPv4 address with a prefix length`,
    cure: 'Write it as 192.0.2.10/24',
  }),
  SIMULATOR_DUPLICATE: entry<{ what: string; name: string }>({
    message: ({ what, name }) => `the ${what} ${name} exists twice`,
    cure: 'Give each its own name, and each interface of a segment its own address',
  }),
});
