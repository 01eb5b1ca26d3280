/** What bmctl touches of the world, so that tests can give it another. */
import type { Clock, Network, Random } from 'cdk8s-baremetal-runtime/core/index';

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
  /** Ends what waits. */
  readonly signal: AbortSignal;
}
