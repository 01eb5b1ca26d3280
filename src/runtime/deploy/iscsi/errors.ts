/** What can go wrong between this initiator and a target, in words for a person. */
import { type CodedError, defineErrors, entry } from 'cdk8s-baremetal-contract';
import type { Endpoint } from 'cdk8s-baremetal-runtime/core/index';

type Where = { readonly portal: string };
type Refused = Where & { readonly target: string };
type Sense = { readonly command: string; readonly sense: string };

const CHECK_TARGET_SIDE = 'Read the log of the target (tgtd, or dmesg for LIO) on the node';

export const iscsiErrors = defineErrors('ISCSI', {
  ISCSI_UNREACHABLE: entry<Where & { reason: string }>({
    message: ({ portal, reason }) => `the iSCSI portal ${portal} does not answer: ${reason}`,
    cure: 'Check that the ramdisk exports its disk on this address and port, and that no filter stands between',
  }),
  ISCSI_CONNECTION_LOST: entry<Where & { reason: string }>({
    message: ({ portal, reason }) => `the connection to the iSCSI portal ${portal} was lost: ${reason}`,
    cure: 'Check the cabling, the power state of the node and its console; the deployment can be started again',
  }),
  ISCSI_SILENT: entry<Where & { waitedMs: number }>({
    message: ({ portal, waitedMs }) => `the iSCSI portal ${portal} has not answered a ping for ${waitedMs} ms`,
    cure: 'Check whether the node hangs, or was powered off, on its console',
  }),
  ISCSI_PROTOCOL: entry<Where & { reason: string }>({
    message: ({ portal, reason }) => `the iSCSI portal ${portal} broke the protocol: ${reason}`,
    cure: 'Check which target software answers there, and report its version with a packet capture',
  }),
  ISCSI_CLOSED: entry<Where>({
    message: ({ portal }) => `the iSCSI session with ${portal} is closed`,
    cure: 'Open the disk again before using it',
  }),
  ISCSI_LOGOUT_ASKED: entry<Where>({
    message: ({ portal }) => `the target at ${portal} asked to be logged out of`,
    cure: 'Check whether the target is being stopped, and start the deployment again when it is back',
  }),
  ISCSI_REJECTED: entry<Where & { reason: string }>({
    message: ({ portal, reason }) => `the target at ${portal} rejected a request: ${reason}`,
    cure: CHECK_TARGET_SIDE,
  }),
  ISCSI_COMMAND_TIMEOUT: entry<Where & { command: string; timeoutMs: number }>({
    message: ({ portal, command, timeoutMs }) => `${command} was not finished by ${portal} within ${timeoutMs} ms and was aborted`,
    cure: 'Check the health of the disk in the node, or allow more time for one command',
  }),
  ISCSI_LOGIN_TIMEOUT: entry<Where & { timeoutMs: number }>({
    message: ({ portal, timeoutMs }) => `the login to ${portal} was not finished within ${timeoutMs} ms`,
    cure: 'Check that an iSCSI target, and not another service, listens on this port',
  }),
  ISCSI_NEGOTIATION: entry<Where & { key: string; ours: string; theirs: string }>({
    message: ({ portal, key, ours, theirs }) => `${portal} answered ${key}=${theirs} to our ${key}=${ours}, which RFC 7143 does not allow`,
    cure: `Change ${'`'}preferences${'`'} of the session so that both sides can agree, or update the target`,
  }),
  ISCSI_NAME: entry<{ name: string }>({
    message: ({ name }) => `"${name}" is not an iSCSI name`,
    cure: 'Use iqn.YYYY-MM.reversed.domain[:anything], eui.<16 hex digits> or naa.<16 or 32 hex digits>, in lower case, 223 characters at most',
  }),

  ISCSI_CHAP_SECRET_SHORT: entry<{ bytes: number }>({
    message: ({ bytes }) => `a CHAP secret of ${bytes} bytes is too short`,
    cure: 'Use 12 to 255 bytes, random ones (RFC 7143 section 9.2.1 asks for 96 bits)',
  }),
  ISCSI_CHAP_SAME_SECRET: entry<Record<never, never>>({
    message: () => 'the CHAP secret of the target is the same as the secret of the initiator',
    cure: 'Use two different secrets: with one, an attacker could have our own answer reflected to us',
  }),
  ISCSI_CHAP_REFUSED: entry<Refused & { reason: string }>({
    message: ({ portal, target, reason }) => `CHAP with ${target} at ${portal} failed: ${reason}`,
    cure: 'Check that the target wants CHAP, and with which algorithm; the login never goes on without the proof that was asked for',
  }),
  ISCSI_CHAP_TARGET_UNPROVEN: entry<Refused>({
    message: ({ portal, target }) => `${target} at ${portal} could not prove that it knows its CHAP secret`,
    cure: 'Check the secret of the target; if it is right, something else answers on this address',
  }),

  ISCSI_REDIRECTED: entry<Refused & { to: string }>({
    message: ({ portal, target, to }) => `${portal} sends us to ${to} for ${target}, which is not allowed here`,
    cure: 'Export the disk on the address that the node reported; redirections are followed only to portals that the caller allows',
  }),
  ISCSI_LOGIN_REFUSED: entry<Refused>({
    message: ({ portal, target }) => `${portal} refused the login to ${target}: error of the initiator (0200)`,
    cure: CHECK_TARGET_SIDE,
  }),
  ISCSI_AUTHENTICATION_FAILED: entry<Refused>({
    message: ({ portal, target }) => `${portal} refused the login to ${target}: authentication failed (0201)`,
    cure: 'Check the CHAP user and secret on both sides; for LIO the user may not begin with 0x or 0b',
  }),
  ISCSI_NOT_AUTHORIZED: entry<Refused>({
    message: ({ portal, target }) => `${portal} refused the login to ${target}: this initiator may not use the target (0202)`,
    cure: 'Bind the initiator name or its address to the target (tgtadm --op bind, or an LIO ACL)',
  }),
  ISCSI_TARGET_NOT_FOUND: entry<Refused>({
    message: ({ portal, target }) => `${portal} has no target ${target} (0203)`,
    cure: 'Compare the target name with what discovery lists (iscsiadm -m discovery, or discoverTargets)',
  }),
  ISCSI_TARGET_REMOVED: entry<Refused>({
    message: ({ portal, target }) => `${target} was removed from ${portal} (0204)`,
    cure: 'Export the disk again',
  }),
  ISCSI_VERSION: entry<Refused>({
    message: ({ portal, target }) => `${portal} speaks no iSCSI version 0 for ${target} (0205)`,
    cure: 'Check which target software answers there',
  }),
  ISCSI_TOO_MANY_CONNECTIONS: entry<Refused>({
    message: ({ portal, target }) => `${portal} allows no further connection to ${target} (0206)`,
    cure: 'Close other sessions, or raise the limit of the target',
  }),
  ISCSI_MISSING_PARAMETER: entry<Refused>({
    message: ({ portal, target }) => `${portal} misses a parameter in our login to ${target} (0207)`,
    cure: 'Set what the target needs, mostly CHAP',
  }),
  ISCSI_SESSION_JOIN: entry<Refused>({
    message: ({ portal, target }) => `${portal} cannot include this connection in a session with ${target} (0208)`,
    cure: 'Use an ISID of its own for each controller that is to work beside another',
  }),
  ISCSI_SESSION_TYPE: entry<Refused>({
    message: ({ portal, target }) => `${portal} does not serve this type of session for ${target} (0209)`,
    cure: 'Check whether the portal allows discovery',
  }),
  ISCSI_SESSION_UNKNOWN: entry<Refused>({
    message: ({ portal, target }) => `${portal} knows no such session with ${target} (020a)`,
    cure: 'Open the disk again',
  }),
  ISCSI_LOGIN_INVALID: entry<Refused>({
    message: ({ portal, target }) => `${portal} found our login to ${target} invalid (020b)`,
    cure: 'Report the version of the target with a packet capture',
  }),
  ISCSI_TARGET_ERROR: entry<Refused>({
    message: ({ portal, target }) => `${portal} failed during the login to ${target} (0300)`,
    cure: CHECK_TARGET_SIDE,
  }),
  ISCSI_SERVICE_UNAVAILABLE: entry<Refused>({
    message: ({ portal, target }) => `${target} at ${portal} is not available now (0301)`,
    cure: 'Try again when the target has started, or the disk behind it answers',
  }),
  ISCSI_OUT_OF_RESOURCES: entry<Refused>({
    message: ({ portal, target }) => `${portal} has no resources for a session with ${target} (0302)`,
    cure: 'Try again later, or give the target more memory',
  }),
  ISCSI_LOGIN_STATUS: entry<Refused & { status: number }>({
    message: ({ portal, target, status }) =>
      `${portal} refused the login to ${target} with the unknown status ${status.toString(16).padStart(4, '0')}`,
    cure: CHECK_TARGET_SIDE,
  }),

  ISCSI_SCSI_NOT_READY: entry<Sense>({
    message: ({ command, sense }) => `${command}: the disk is not ready (${sense})`,
    cure: 'Wait for the disk to spin up, or check its health',
  }),
  ISCSI_SCSI_MEDIUM_ERROR: entry<Sense>({
    message: ({ command, sense }) => `${command}: the medium has an error (${sense})`,
    cure: 'Replace the disk, or choose another one of this node',
  }),
  ISCSI_SCSI_HARDWARE_ERROR: entry<Sense>({
    message: ({ command, sense }) => `${command}: the disk hardware has an error (${sense})`,
    cure: 'Check the disk and its controller',
  }),
  ISCSI_SCSI_ILLEGAL_REQUEST: entry<Sense>({
    message: ({ command, sense }) => `${command}: the disk does not take this request (${sense})`,
    cure: 'Check the LUN and the extent; a command that the disk lacks is replaced where that is possible',
  }),
  ISCSI_SCSI_UNIT_ATTENTION: entry<Sense>({
    message: ({ command, sense }) => `${command}: the disk changes its state again and again (${sense})`,
    cure: 'Check who else resets the disk or its target',
  }),
  ISCSI_SCSI_SPACE: entry<Sense>({
    message: ({ command, sense }) => `${command}: the storage behind the disk is full (${sense})`,
    cure: 'Free or add space where the disk is kept (a thin pool, a sparse file); the deployment goes on where it stopped',
  }),
  ISCSI_SCSI_DATA_PROTECT: entry<Sense>({
    message: ({ command, sense }) => `${command}: the disk is write-protected (${sense})`,
    cure: 'Export the disk writable',
  }),
  ISCSI_SCSI_ABORTED: entry<Sense>({
    message: ({ command, sense }) => `${command}: the disk gave the command up (${sense})`,
    cure: 'Check the link between the target and its disk',
  }),
  ISCSI_SCSI_CHECK_CONDITION: entry<Sense>({
    message: ({ command, sense }) => `${command}: the disk reports ${sense}`,
    cure: 'Look the sense code up in SPC-5 annex F',
  }),
  ISCSI_SCSI_BUSY: entry<{ command: string; status: string; waitedMs: number }>({
    message: ({ command, status, waitedMs }) => `${command}: the disk still answers ${status} after ${waitedMs} ms`,
    cure: 'Check what else uses the disk',
  }),
  ISCSI_SCSI_RESERVED: entry<{ command: string }>({
    message: ({ command }) => `${command}: the disk is reserved by another initiator`,
    cure: 'Find and stop the other initiator; it may be an older deployment of the same node',
  }),
  ISCSI_SCSI_STATUS: entry<{ command: string; status: string }>({
    message: ({ command, status }) => `${command}: the disk answers with status ${status}`,
    cure: CHECK_TARGET_SIDE,
  }),
  ISCSI_SHORT_TRANSFER: entry<{ command: string; expected: number; moved: number }>({
    message: ({ command, expected, moved }) => `${command}: ${moved} of ${expected} bytes were transferred`,
    cure: 'Check the size of the exported disk and the health of the target',
  }),

  ISCSI_DISK_ALIGNMENT: entry<{ offset: number; bytes: number; blockBytes: number }>({
    message: ({ offset, bytes, blockBytes }) => `offset ${offset} and length ${bytes} are not whole blocks of ${blockBytes} bytes`,
    cure: 'Read or write whole blocks',
  }),
  ISCSI_DISK_RANGE: entry<{ offset: number; bytes: number; sizeBytes: number }>({
    message: ({ offset, bytes, sizeBytes }) => `${bytes} bytes at offset ${offset} lie outside the disk of ${sizeBytes} bytes`,
    cure: 'Choose a larger disk or a smaller image',
  }),
  ISCSI_DISK_CHANGED: entry<Where & { found: string; wanted: string }>({
    message: ({ portal, found, wanted }) => `the disk at ${portal} is ${found} now, and was ${wanted} before; nothing more was written`,
    cure: 'Check whether the node was restarted or its disks were changed in the middle, and start the deployment again',
  }),
  ISCSI_NOT_A_DISK: entry<Where & { lun: number; found: string }>({
    message: ({ portal, lun, found }) => `LUN ${lun} at ${portal} is not a disk: ${found}`,
    cure: 'Use the LUN that exports the disk: 1 with tgt, 0 with LIO by default',
  }),
});

type StatusFactory = (params: Refused, options?: ErrorOptions) => CodedError;

/** Login status (RFC 7143 section 11.13.5) to its error. Class 1, redirection, is not a failure and is not here. */
const LOGIN_STATUS = new Map<number, StatusFactory>([
  [0x0200, iscsiErrors.ISCSI_LOGIN_REFUSED],
  [0x0201, iscsiErrors.ISCSI_AUTHENTICATION_FAILED],
  [0x0202, iscsiErrors.ISCSI_NOT_AUTHORIZED],
  [0x0203, iscsiErrors.ISCSI_TARGET_NOT_FOUND],
  [0x0204, iscsiErrors.ISCSI_TARGET_REMOVED],
  [0x0205, iscsiErrors.ISCSI_VERSION],
  [0x0206, iscsiErrors.ISCSI_TOO_MANY_CONNECTIONS],
  [0x0207, iscsiErrors.ISCSI_MISSING_PARAMETER],
  [0x0208, iscsiErrors.ISCSI_SESSION_JOIN],
  [0x0209, iscsiErrors.ISCSI_SESSION_TYPE],
  [0x020a, iscsiErrors.ISCSI_SESSION_UNKNOWN],
  [0x020b, iscsiErrors.ISCSI_LOGIN_INVALID],
  [0x0300, iscsiErrors.ISCSI_TARGET_ERROR],
  [0x0301, iscsiErrors.ISCSI_SERVICE_UNAVAILABLE],
  [0x0302, iscsiErrors.ISCSI_OUT_OF_RESOURCES],
]);

export function loginStatusError(status: number, where: Refused): CodedError {
  return LOGIN_STATUS.get(status)?.(where) ?? iscsiErrors.ISCSI_LOGIN_STATUS({ ...where, status });
}

/** `192.0.2.1:3260`, `[2001:db8::1]:3260`. */
export function portalName({ address, port }: Endpoint): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
