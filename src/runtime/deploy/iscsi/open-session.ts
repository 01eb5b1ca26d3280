/** From an address to a session: connect, log in, follow a redirection where the caller allows it. */
import { CodedError } from 'cdk8s-baremetal-contract';
import { type Clock, type Endpoint, type Logger, type Network, type Random, withDeadline } from 'cdk8s-baremetal-runtime/core/index';
import type { ChapCredentials } from './chap.ts';
import { iscsiErrors, portalName } from './errors.ts';
import { InitiatorLogin, type LoginOptions, type LoginStep } from './login.ts';
import { DEFAULT_PREFERENCES, type Preferences } from './negotiation.ts';
import { PduError, serialBefore } from './pdu.ts';
import { DEFAULT_SESSION_TIMES, IscsiSession, type SessionTimes } from './session.ts';
import { isIscsiName } from './text.ts';
import { PduTransport } from './transport.ts';

export interface SessionOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly portal: Endpoint;
  /** Source address, where the host has several. */
  readonly localAddress?: string;
  readonly initiatorName: string;
  /** Absent: a discovery session. */
  readonly targetName?: string;
  /** Six bytes; see `makeIsid`. The same name and ISID make the target drop an older session. */
  readonly isid: Uint8Array;
  readonly chap?: ChapCredentials;
  readonly preferences?: Partial<Preferences>;
  readonly times?: Partial<SessionTimes>;
  /** Connect and log in, redirections included. Default 15,000. */
  readonly loginTimeoutMs?: number;
  /** Which portals a target may send us to. Default: none, since a node's word is not enough to connect anywhere. */
  readonly allowRedirect?: (portal: Endpoint) => boolean;
  /** Ends the session, now and later. */
  readonly signal?: AbortSignal;
}

const MOST_REDIRECTS = 3;

/** Throws a CodedError of the ISCSI area, or the signal's reason. */
export async function openSession(options: SessionOptions): Promise<IscsiSession> {
  for (const name of [options.initiatorName, ...(options.targetName === undefined ? [] : [options.targetName])])
    if (!isIscsiName(name)) throw iscsiErrors.ISCSI_NAME({ name: name.slice(0, 256) });
  const { clock, signal, loginTimeoutMs = 15_000 } = options;
  const onTimeout = (): Error => iscsiErrors.ISCSI_LOGIN_TIMEOUT({ portal: portalName(options.portal), timeoutMs: loginTimeoutMs });
  return withDeadline(clock, loginTimeoutMs, onTimeout, (deadline) => follow(options, deadline), signal);
}

/**
 * An ISID of the "random" format (RFC 7143 section 11.12.5): type 10b, 24 bits for the controller, 16 for the use. Two
 * controllers that must be able to take over from each other use the same numbers.
 */
export function makeIsid(controller: number, qualifier: number): Uint8Array {
  const isid = Buffer.alloc(6);
  isid.writeUInt8(0x80, 0);
  isid.writeUIntBE(controller & 0xffffff, 1, 3);
  isid.writeUInt16BE(qualifier & 0xffff, 4);
  return isid;
}

async function follow(options: SessionOptions, deadline: AbortSignal): Promise<IscsiSession> {
  let { portal } = options;
  for (let redirects = 0; ; redirects++) {
    const outcome = await attempt(options, portal, deadline);
    if (outcome instanceof IscsiSession) return outcome;
    const to = parsePortal(outcome.address);
    const allowed = to !== undefined && redirects < MOST_REDIRECTS && options.allowRedirect?.(to) === true;
    const target = options.targetName ?? 'discovery';
    if (!allowed) throw iscsiErrors.ISCSI_REDIRECTED({ portal: portalName(portal), target, to: outcome.address.slice(0, 256) });
    options.logger.info({ from: portalName(portal), to: portalName(to), permanent: outcome.permanent }, 'the target redirects us');
    portal = to;
  }
}

async function attempt(
  options: SessionOptions,
  portal: Endpoint,
  deadline: AbortSignal,
): Promise<IscsiSession | Extract<LoginStep, { next: 'redirect' }>> {
  const { network, clock, logger, random, signal, localAddress } = options;
  const name = portalName(portal);
  const connection = await network.connect({ ...portal, signal: deadline, ...(localAddress && { localAddress }) }).catch((error) => {
    if (deadline.aborted) throw deadline.reason;
    throw iscsiErrors.ISCSI_UNREACHABLE({ portal: name, reason: error instanceof Error ? error.message : String(error) }, { cause: error });
  });
  const transport = new PduTransport(connection);
  const initialCmdSn = Buffer.from(random.bytes(4)).readUInt32BE();
  const loginOptions: LoginOptions = {
    portal: name,
    initiatorName: options.initiatorName,
    isid: options.isid,
    preferences: { ...DEFAULT_PREFERENCES, ...options.preferences },
    random,
    initialCmdSn,
    ...(options.targetName !== undefined && { targetName: options.targetName }),
    ...(options.chap && { chap: options.chap }),
  };
  return new Promise((resolve, reject) => {
    const giveUp = (error: unknown): void => {
      deadline.removeEventListener('abort', onDeadline);
      transport.onEnd = () => undefined; // the first reason is the one to tell
      transport.destroy();
      reject(readable(error, name));
    };
    const onDeadline = (): void => giveUp(deadline.reason);
    deadline.addEventListener('abort', onDeadline, { once: true });
    transport.onEnd = (error) => giveUp(error ?? new Error('it closed the connection during the login'));
    try {
      if (deadline.aborted) throw deadline.reason;
      const login = new InitiatorLogin(loginOptions);
      transport.onPdu = (pdu) => {
        if (pdu.kind !== 'login-response') throw new PduError(`it answered the login with ${pdu.kind}`);
        const step = login.receive(pdu);
        if (step.next === 'send') {
          transport.send(step.request);
          return;
        }
        deadline.removeEventListener('abort', onDeadline);
        transport.onEnd = () => undefined;
        if (step.next === 'redirect') {
          transport.destroy();
          resolve(step);
          return;
        }
        if (serialBefore(step.result.maxCmdSn, initialCmdSn)) logger.debug({ portal: name }, 'the target opens with a closed window');
        const times = { ...DEFAULT_SESSION_TIMES, ...options.times };
        const session = new IscsiSession({ transport, clock, logger, portal: name, login: step.result, initialCmdSn, times });
        bindSignal(session, signal);
        resolve(session);
      };
      transport.send(login.start());
      void transport.run();
    } catch (error) {
      giveUp(error);
    }
  });
}

function bindSignal(session: IscsiSession, signal: AbortSignal | undefined): void {
  if (!signal) return;
  const onAbort = (): void => session.destroy(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)));
  signal.addEventListener('abort', onAbort, { once: true });
  session.over.addEventListener('abort', () => signal.removeEventListener('abort', onAbort), { once: true });
}

function readable(error: unknown, portal: string): unknown {
  if (error instanceof CodedError) return error;
  if (error instanceof PduError) return iscsiErrors.ISCSI_PROTOCOL({ portal, reason: error.message }, { cause: error });
  if (!(error instanceof Error) || error.name === 'AbortError') return error;
  return iscsiErrors.ISCSI_CONNECTION_LOST({ portal, reason: error.message }, { cause: error });
}

/** `192.0.2.7:3260,1`, `[2001:db8::7]:3260,1`; the port may be missing (RFC 7143 section 13.8). */
export function parsePortal(text: string): Endpoint | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:,[\]]+))(?::(\d{1,5}))?(?:,\d+)?$/.exec(text);
  const address = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? 3260);
  return address && port > 0 && port < 65536 ? { address, port } : undefined;
}
