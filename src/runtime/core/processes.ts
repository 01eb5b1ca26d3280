/** Other programs, run to their end. `node-processes.ts` starts real ones; tests and the simulator answer in their place. */
export interface ProcessCommand {
  /** A name for the PATH, or an absolute path. */
  readonly program: string;
  /** Handed over as they are, never through a shell. Every user of the machine can read them: no secrets. */
  readonly args: readonly string[];
  /** After so long it is killed with everything that it started. */
  readonly limitMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface ProcessOutcome {
  /** Undefined: a signal ended it. */
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Processes {
  /** Rejects when the program cannot be started, when the limit passed, and with the signal's reason. */
  run(command: ProcessCommand): Promise<ProcessOutcome>;
}
