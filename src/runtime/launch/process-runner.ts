/** Another program, run to its end. A port: what needs git in production needs none in a test of its decisions. */
export interface ProcessRequest {
  readonly program: string;
  /** Anyone on the machine can read these: never a secret. */
  readonly args: readonly string[];
  /** The whole environment; nothing is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  readonly directory?: string;
  /** Kills the program, and every program that it started. */
  readonly signal: AbortSignal;
}

export interface ProcessResult {
  /** Undefined when a signal ended it. */
  readonly exitCode: number | undefined;
  readonly killedBy: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProcessRunner {
  /** Rejects when the program cannot be started, and with the signal's reason once an aborted program is gone. */
  run(request: ProcessRequest): Promise<ProcessResult>;
}
