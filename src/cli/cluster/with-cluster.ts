/** What stands around a command of `bmctl cluster`: the API server that its flags name, an interruption, the words to a person, how the program ends. */
import { readFileSync } from 'node:fs';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import type { Command } from 'commander';
import type { ClusterContext, ClusterKey } from './context.ts';
import { withExitCode } from './exit.ts';

/** Does `work` on the cluster that the flags name. */
export type WithCluster = (work: (context: ClusterContext, key: ClusterKey, config: unknown) => Promise<unknown>) => Promise<void>;

interface ClusterFlags {
  readonly name: string;
  readonly namespace: string;
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** `cluster` is the command that has the flags; `program` has `--json`. */
export function clusterConnector(program: Command, cluster: Command): WithCluster {
  return (work) =>
    ending(async () => {
      const { connect } = await import('./connection.ts');
      const { name, namespace, kubeconfig: file, context: kubeContext } = cluster.opts<ClusterFlags>();
      const stop = new AbortController();
      const interrupted = (): void => stop.abort(new Error('interrupted'));
      process.once('SIGINT', interrupted);
      process.once('SIGTERM', interrupted);
      const options = { ...(file !== undefined && { file }), ...(kubeContext !== undefined && { context: kubeContext }) };
      const connection = connect(options, nodeClock);
      const context: ClusterContext = {
        api: connection.api,
        clock: nodeClock,
        print,
        progress,
        asJson: program.opts<{ json?: boolean }>().json === true,
        signal: stop.signal,
      };
      try {
        await work(context, { name, namespace }, connection.config);
      } finally {
        process.removeListener('SIGINT', interrupted);
        process.removeListener('SIGTERM', interrupted);
        await connection.close();
      }
    });
}

/** Errors leave with what the program is to end with. */
export async function ending(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    throw withExitCode(error);
  }
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

export function readStdin(): string {
  return readFileSync(0, 'utf8');
}
