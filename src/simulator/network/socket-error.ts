/** Errors with the codes and the wording of Node's sockets, since callers tell them apart by `code`. */
import type { Endpoint } from 'cdk8s-baremetal-runtime/core/network';

export type SocketErrorCode =
  | 'EACCES'
  | 'EADDRINUSE'
  | 'EADDRNOTAVAIL'
  | 'ECONNREFUSED'
  | 'ECONNRESET'
  | 'EMSGSIZE'
  | 'ENETDOWN'
  | 'ENETUNREACH'
  | 'ENOTFOUND'
  | 'EPIPE'
  | 'ETIMEDOUT';

export function socketError(code: SocketErrorCode, syscall: string, at?: Endpoint | string): NodeJS.ErrnoException {
  const where = typeof at === 'object' ? ` ${at.address}:${at.port}` : at ? ` ${at}` : '';
  return Object.assign(new Error(`${syscall} ${code}${where}`), { code, syscall, ...(typeof at === 'object' && at) });
}
