/** Another program, run to its end. A port: the launch plane's ProcessRunner fits, and tests give a model. */
export interface CommandRunner {
  /** Rejects when the program cannot be started, and with the signal's reason once an aborted program is gone. */
  run(request: {
    readonly program: string;
    /** Anyone on the machine can read these: never a secret. */
    readonly args: readonly string[];
    /** The whole environment; nothing is inherited. */
    readonly environment: Readonly<Record<string, string>>;
    readonly signal: AbortSignal;
  }): Promise<{ readonly exitCode: number | undefined; readonly stdout: string; readonly stderr: string }>;
}
