/** What a cluster command ends with, for scripts: by the error's code. */
import { CodedError } from 'cdk8s-baremetal-contract';
import { ExitError, exitCode } from '../exit-codes.ts';

const CODES: Readonly<Record<string, number>> = {
  CLUSTER_NO_KUBECONFIG: exitCode.noAnswer,
  CLUSTER_API_UNREACHABLE: exitCode.noAnswer,
  CLUSTER_UNAUTHORIZED: exitCode.notAllowed,
  CLUSTER_FORBIDDEN: exitCode.notAllowed,
  CLUSTER_CRD_MISSING: exitCode.notFound,
  CLUSTER_NAMESPACE_MISSING: exitCode.notFound,
  CLUSTER_NOT_FOUND: exitCode.notFound,
  CLUSTER_NO_CONFIG: exitCode.notFound,
  CLUSTER_DEV_NOT_RUNNING: exitCode.notFound,
  CLUSTER_EXISTS_OTHERWISE: exitCode.refused,
  CLUSTER_CHANGED_MEANWHILE: exitCode.refused,
  CLUSTER_SECRET_TAKEN: exitCode.refused,
  CLUSTER_VERSION_BEFORE: exitCode.refused,
  CLUSTER_VERSION_NEVER_RAN: exitCode.refused,
  CLUSTER_NO_EARLIER_VERSION: exitCode.refused,
  CLUSTER_DATABASE_NOT_ROLLED_BACK: exitCode.refused,
  CLUSTER_NOT_CONFIRMED: exitCode.refused,
  CLUSTER_RESTORE_CONFIRM: exitCode.refused,
  CLUSTER_RESTORE_UNDER_WAY: exitCode.refused,
  CLUSTER_NO_RESTORE: exitCode.refused,
  CLUSTER_NO_DUMP: exitCode.notFound,
  CLUSTER_RESTORE_FAILED: exitCode.deployFailed,
  CLUSTER_RESTORE_DEADLINE: exitCode.timeout,
  CLUSTER_NO_DRIFT: exitCode.refused,
  CLUSTER_DEV_SEVERAL: exitCode.refused,
  CLUSTER_WAIT_DEADLINE: exitCode.timeout,
  CLUSTER_DEV_DEADLINE: exitCode.timeout,
  CLUSTER_WAIT_FAILED: exitCode.deployFailed,
  CLUSTER_WAIT_DELETED: exitCode.deployFailed,
  CLUSTER_INIT_PREFLIGHT: exitCode.preflight,
  CLUSTER_INIT_FLAG: exitCode.usage,
  CLUSTER_PASSWORD_IN_ARGV: exitCode.usage,
  CLUSTER_PASSWORD_SOURCES: exitCode.usage,
  CLUSTER_NOTHING_ASKED: exitCode.usage,
  CLUSTER_ASSIGNMENT_MALFORMED: exitCode.usage,
  CLUSTER_COMPONENT_UNKNOWN: exitCode.usage,
  CLUSTER_INVALID: exitCode.usage,
  CLUSTER_REFUSED: exitCode.usage,
  CLUSTER_PASSWORD_UNUSABLE: exitCode.usage,
  CLUSTER_FILE_UNREADABLE: exitCode.usage,
  CLUSTER_FILE_SYNTAX: exitCode.usage,
  CLUSTER_FILE_WITHOUT: exitCode.usage,
  CLUSTER_FILE_PROBLEMS: exitCode.usage,
  CLUSTER_DEV_FILE: exitCode.usage,
  CLUSTER_DEV_KIND: exitCode.usage,
  CLUSTER_DEV_NO_PROGRAM: exitCode.usage,
};

/** The error with what to end with; anything else as it is. */
export function withExitCode(error: unknown): unknown {
  if (!(error instanceof CodedError) || error instanceof ExitError) return error;
  const code = CODES[error.code];
  return code === undefined ? error : new ExitError(code, error);
}
