import { CodedError } from 'cdk8s-baremetal-contract';

/** What only a container in a cluster has; elsewhere `refused` says why it is not there, in the words of who needs it. */
export function insideCluster<T>(read: () => T, refused: (reason: string) => Error): T {
  try {
    return read();
  } catch (cause) {
    const reason = cause instanceof CodedError ? cause.message.replace(/^.*: /, '') : String(cause);
    throw Object.assign(refused(reason), { cause });
  }
}
