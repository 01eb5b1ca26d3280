/** Running a program inside a pod's container: the one thing here that is no object of the API. */

export interface ExecRequest {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly command: readonly string[];
  /** Becomes the program's standard input. */
  readonly input?: Uint8Array;
  readonly signal?: AbortSignal;
}

export interface ExecResult {
  /** 0: it succeeded. */
  readonly exitCode: number;
  readonly output: string;
  readonly errors: string;
}

export interface PodAccess {
  /** Rejects when the container cannot be reached; a program that fails resolves with its exit code. */
  exec(request: ExecRequest): Promise<ExecResult>;
}
