/** What people see of the TFTP plane, each with its cure. */
import { defineErrors, entry } from 'cdk8s-baremetal-contract';

interface Transfer {
  readonly path: string;
  readonly server: string;
}

export const tftpErrors = defineErrors('TFTP', {
  TFTP_REFUSED: entry<Transfer & { code: number; reason: string }>({
    message: ({ path, server, code, reason }) => `${server} refuses "${path}" with error ${code} (${reason})`,
    cure: 'Check that the file exists below the TFTP root and that its name is spelled as the server expects',
  }),
  TFTP_NO_ANSWER: entry<Transfer & { silentMs: number }>({
    message: ({ path, server, silentMs }) => `${server} has sent nothing of "${path}" for ${silentMs} ms`,
    cure: 'Check that the server runs, and that no firewall drops its answers: they come from another UDP port than the one asked',
  }),
  TFTP_BAD_ANSWER: entry<Transfer & { reason: string }>({
    message: ({ path, server, reason }) => `${server} breaks the protocol in its answer to "${path}": ${reason}`,
    cure: 'Retry without options (block 512, window 1), or use another server',
  }),
  TFTP_TOO_LARGE: entry<Transfer & { limitBytes: number }>({
    message: ({ path, server, limitBytes }) => `"${path}" on ${server} is larger than the ${limitBytes} bytes allowed`,
    cure: 'Raise maxBytes, or fetch the file over HTTP',
  }),
  TFTP_SERVER_CLOSED: entry<{ address: string }>({
    message: ({ address }) => `the TFTP server on ${address} was closed before it started`,
    cure: 'Create a new server instead of starting a closed one',
  }),
});
