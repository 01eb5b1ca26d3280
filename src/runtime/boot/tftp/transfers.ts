/** Who is being served: the limits, which request is only a copy of one that is being answered, and who waits until nobody is left. */
import type { Endpoint } from '../../core/network.ts';
import type { TftpRequestPacket } from './codec.ts';
import type { SendSession } from './session.ts';

/** One request and what became of it. */
export interface Transfer {
  readonly request: TftpRequestPacket;
  readonly remote: Endpoint;
  readonly startedAt: number;
  /** Undefined while the source or the socket is awaited. */
  session: SendSession | undefined;
  established: boolean;
  establishedAt?: number;
  ended: boolean;
}

export interface TransferLimits {
  /** Transfers at a time. */
  readonly sessionsMax: number;
  /** Transfers at a time with one client address. */
  readonly sessionsPerSource: number;
  /** Every transfer goes over the port of the requests. */
  readonly singlePort: boolean;
}

/** Longer than a datagram is held up on a LAN, shorter than a client waits before it begins again. */
const LATE_COPY_MS = 1000;

export class Transfers {
  private readonly all = new Set<Transfer>();
  private readonly perSource = new Map<string, Set<Transfer>>();
  private onIdle: (() => void) | undefined;

  constructor(private readonly limits: TransferLimits) {}

  get size(): number {
    return this.all.size;
  }

  list(): Transfer[] {
    return [...this.all];
  }

  /**
   * A repeated request, while the answer to the first is still on its way: that transfer's own timer repeats the answer. After the first ACK the same port
   * may mean a client that began anew, or a copy held up on the way; both are served, the client answers the transfer that it follows, and the other is
   * superseded.
   */
  isBeingAnswered(request: TftpRequestPacket, remote: Endpoint): boolean {
    for (const other of this.perSource.get(remote.address) ?? [])
      if ((!other.established || this.isLateCopy(other)) && sameRequest(other, request, remote)) return true;
    return false;
  }

  /** False: there are too many already, of all clients or of this one. */
  admit(transfer: Transfer): boolean {
    const { address } = transfer.remote;
    const known = this.perSource.get(address);
    if (this.all.size >= this.limits.sessionsMax || (known?.size ?? 0) >= this.limits.sessionsPerSource) return false;
    this.all.add(transfer);
    if (known) known.add(transfer);
    else this.perSource.set(address, new Set([transfer]));
    return true;
  }

  remove(transfer: Transfer): void {
    this.all.delete(transfer);
    const siblings = this.perSource.get(transfer.remote.address);
    siblings?.delete(transfer);
    if (siblings?.size === 0) this.perSource.delete(transfer.remote.address);
  }

  /** To be called when everything about a transfer's end has been said. */
  tellIdle(): void {
    if (this.all.size === 0) this.onIdle?.();
  }

  /** Calls `onIdle` at the end of the last transfer, however often that comes. */
  whenIdle(onIdle: () => void): void {
    this.onIdle = onIdle;
  }

  /** Other transfers with the same client port. */
  othersOf(transfer: Transfer): Transfer[] {
    return [...(this.perSource.get(transfer.remote.address) ?? [])].filter(
      (other) => other !== transfer && other.remote.port === transfer.remote.port,
    );
  }

  /** One port cannot tell a late copy of the request from a new beginning: while the transfer gets on, it is a copy. */
  private isLateCopy(other: Transfer): boolean {
    return this.limits.singlePort && other.session !== undefined && other.session.quietMs < LATE_COPY_MS;
  }
}

function sameRequest(transfer: Transfer, request: TftpRequestPacket, remote: Endpoint): boolean {
  const { path, mode, options } = transfer.request;
  if (transfer.remote.port !== remote.port || path !== request.path || mode !== request.mode || options.size !== request.options.size)
    return false;
  for (const [name, value] of options) if (request.options.get(name) !== value) return false;
  return true;
}
