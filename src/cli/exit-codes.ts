/** What bmctl ends with; docs/operate.md has the table. Scripts rely on it. */
import { CodedError } from 'cdk8s-baremetal-contract';

export const exitCode = {
  done: 0,
  failed: 1,
  usage: 2,
  noAnswer: 3,
  notAllowed: 4,
  notFound: 5,
  refused: 6,
  deployFailed: 7,
  preflight: 8,
  timeout: 124,
  interrupted: 130,
} as const;

/** An error that knows what to end with. */
export class ExitError extends CodedError {
  constructor(
    readonly exitCode: number,
    error: CodedError,
    readonly details: readonly { readonly what: string; readonly why: string }[] = [],
    /** Of the answer, where it was one. */
    readonly status?: number,
  ) {
    super(error.code, error.message, error.cure, { cause: error });
  }
}

export function exitCodeOfStatus(status: number): number {
  if (status === 401 || status === 403) return exitCode.notAllowed;
  if (status === 404) return exitCode.notFound;
  if (status === 409 || status === 412 || status === 428) return exitCode.refused;
  if (status === 400 || status === 422) return exitCode.usage;
  return exitCode.failed;
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof ExitError) return error.exitCode;
  if (!(error instanceof CodedError)) return exitCode.failed;
  if (error.code.startsWith('BMCTL_NO') || error.code.startsWith('BMCTL_CERTIFICATE')) return exitCode.noAnswer;
  if (error.code === 'STORE_IMPORT_CONFLICT') return exitCode.refused;
  // what was named on the command line
  return /^(BMCTL_SECRET|STORE_URL$|STORE_IMPORT_LINE$|CONFIG_)/.test(error.code) ? exitCode.usage : exitCode.failed;
}
