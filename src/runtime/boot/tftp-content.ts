/** The boot decision as a file source of the TFTP server. */
import type { BootContentSource } from './boot-content.ts';
import { ACCESS_VIOLATION, bytesFile, type FileSource, NOT_FOUND, type TftpRefusal } from './tftp/source.ts';

export function tftpBootSource(content: BootContentSource): FileSource {
  return async ({ path, remote, local }) => {
    const answer = await content({ protocol: 'tftp', path, remote, local });
    switch (answer.kind) {
      case 'text':
        return bytesFile(answer.text);
      case 'file':
        return answer.file;
      case 'missing':
        return answer.refusal;
      case 'refused':
        return refusal(answer.code);
    }
  };
}

/** The reasons stay with us: who asks for another machine's key need not learn whose it is. */
function refusal(code: (Awaited<ReturnType<BootContentSource>> & { kind: 'refused' })['code']): TftpRefusal {
  switch (code) {
    case 'unknown-machine':
    case 'not-booting':
    case 'no-loader':
    case 'no-such-file':
      return NOT_FOUND;
    case 'bad-path':
    case 'not-lease-holder':
    case 'key-expired':
      return ACCESS_VIOLATION;
    case 'bad-config':
      return { code: 0, message: 'The boot configuration is not valid' };
    case 'unavailable':
      return { code: 0, message: 'The boot service is busy' };
  }
}
