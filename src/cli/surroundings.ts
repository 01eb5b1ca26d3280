/** What bmctl touches of the world, so that tests can give it another. */
import type { Clock, Network, Random } from 'cdk8s-baremetal-runtime/core/index';
import type { Processes } from 'cdk8s-baremetal-runtime/core/processes';

/** A person at a keyboard. */
export interface Terminal {
  /**
   * Hands over every key as typed until the returned function is called, which gives the terminal back as it was. While a promise that `onKeys` returned
   * is not settled nothing more is read: what is typed or pasted meanwhile waits in the operating system.
   */
  raw(onKeys: (data: Uint8Array) => void | Promise<void>): () => void;
  write(data: Uint8Array): void;
  /** One line, not shown while it is typed. */
  askHidden(question: string): Promise<string>;
}

export interface Surroundings {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: () => Promise<string>;
  readonly print: (text: string) => void;
  /** Beside the result, on standard error. */
  readonly note: (text: string) => void;
  /** A line that the next one overwrites; on a terminal only, so absent elsewhere. */
  readonly progress?: (line: string) => void;
  /** Absent where nobody types. */
  readonly terminal?: Terminal;
  /** Default: programs of this machine. */
  readonly processes?: Processes;
  /** Ends what waits. */
  readonly signal: AbortSignal;
}
