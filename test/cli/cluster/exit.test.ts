/** What the cluster commands end with, by the table of docs/operate.md. */
import { spawnSync } from 'node:child_process';
import { CodedError } from 'cdk8s-baremetal-contract';
import { expect, it } from 'vitest';
import { clusterErrors } from '../../../src/cli/cluster/errors.ts';
import { withExitCode } from '../../../src/cli/cluster/exit.ts';
import { ExitError } from '../../../src/cli/exit-codes.ts';

const run = (...args: string[]) => spawnSync(process.execPath, ['src/cli/bmctl.ts', ...args], { encoding: 'utf8' });

it('1 is for what failed inside alone', () => {
  const inside = Object.keys(clusterErrors).filter((code) => !(withExitCode(new CodedError(code, '', '')) instanceof ExitError));
  expect(inside).toEqual(['CLUSTER_DEV_EXEC', 'CLUSTER_INIT_FAILED']);
});

it('2 for a file that cannot be read', () => {
  expect(run('cluster', 'validate', '/nowhere.yaml')).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('CLUSTER_FILE_UNREADABLE'),
  });
});

it('an empty list of namespaces is refused: without one the operator has rights in all', () => {
  const { status, stdout, stderr } = run('bundle', '--watch-namespaces', '');
  expect([status, stdout, stderr]).toEqual([2, '', expect.stringContaining('It must name one at least.')]);
});
