/** Which failures of a deployment pass by themselves, and which never do. Everything else is the reconciler's to try again. */
import { CodedError } from 'cdk8s-baremetal-contract';

/** The network, or the ramdisk's target, is away for a while: the session is opened again and writing goes on. */
const PASSING: ReadonlySet<string> = new Set([
  'ISCSI_UNREACHABLE',
  'ISCSI_CONNECTION_LOST',
  'ISCSI_SILENT',
  'ISCSI_CLOSED',
  'ISCSI_LOGIN_TIMEOUT',
  'ISCSI_COMMAND_TIMEOUT',
  'ISCSI_LOGOUT_ASKED',
  'ISCSI_TARGET_NOT_FOUND',
  'ISCSI_TARGET_REMOVED',
  'ISCSI_SERVICE_UNAVAILABLE',
  'ISCSI_OUT_OF_RESOURCES',
]);

/** Neither sizes, nor secrets, nor what is on a disk change by trying again; and a disk that was found to lie once is not asked until a sample misses it. */
const PERMANENT: ReadonlySet<string> = new Set([
  'IMAGE_DISK_TOO_SMALL',
  'IMAGE_DIGEST_MISMATCH',
  'IMAGE_READ_BACK_UNSUPPORTED',
  'IMAGE_READ_BACK_MISMATCH',
  'ISCSI_AUTHENTICATION_FAILED',
  'ISCSI_CHAP_REFUSED',
  'ISCSI_CHAP_TARGET_UNPROVEN',
  'ISCSI_NOT_AUTHORIZED',
  'ISCSI_REDIRECTED',
  'ISCSI_NOT_A_DISK',
  'ISCSI_DISK_CHANGED',
  'ISCSI_SCSI_DATA_PROTECT',
]);

export function isPassing(error: unknown): boolean {
  return error instanceof CodedError && PASSING.has(error.code);
}

/** The same error, marked for the reconciler when trying again is of no use. */
export function judged(error: unknown): unknown {
  if (!(error instanceof CodedError)) return error;
  const permanent = PERMANENT.has(error.code) || error.code.startsWith('LAYOUT_');
  return permanent ? Object.assign(error, { permanent: true }) : error;
}
