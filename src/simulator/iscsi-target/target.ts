/**
 * An iSCSI target without hardware: the disk that a simulated deploy ramdisk exports. One target, several LUNs, CHAP, session
 * reinstatement, faults.
 */
import type { Clock, Endpoint, Logger, Network, Random, TcpConnection } from 'cdk8s-baremetal-runtime/core/index';
import { portalName } from 'cdk8s-baremetal-runtime/deploy/iscsi/errors';
import { DEFAULT_PREFERENCES, type Preferences } from 'cdk8s-baremetal-runtime/deploy/iscsi/negotiation';
import { PduError } from 'cdk8s-baremetal-runtime/deploy/iscsi/pdu';
import { PduTransport } from 'cdk8s-baremetal-runtime/deploy/iscsi/transport';
import type { BlockDevice } from '../disk/index.ts';
import { faultyConnection, type TargetFaults } from './faults.ts';
import { LogicalUnit, type LogicalUnitOptions } from './logical-unit.ts';
import { type LoggedIn, type TargetChap, TargetLogin, type TargetLoginOptions } from './target-login.ts';
import { TargetSession } from './target-session.ts';

export interface LunOptions extends Omit<LogicalUnitOptions, 'serial'> {
  readonly device: BlockDevice;
  /** Default: "SIM" and the LUN's number in four digits. */
  readonly serial?: string;
}

export interface IscsiTargetOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** All addresses when absent. */
  readonly address?: string;
  /** 0: any free one. */
  readonly port: number;
  readonly targetName: string;
  readonly luns: Readonly<Record<number, LunOptions>>;
  readonly chap?: TargetChap;
  readonly preferences?: Partial<Preferences>;
  readonly portalGroupTag?: number;
  /** Commands that a session may have under way. Default 32. */
  readonly windowCommands?: number;
  /** A login with the name and ISID of an open session ends that one, as section 6.3.5 asks. Default true; some targets forget. */
  readonly reinstatement?: boolean;
  /** The first command on a LUN gets UNIT ATTENTION, power on. Default true. */
  readonly unitAttention?: boolean;
  /** Sends every initiator elsewhere: "192.0.2.7:3260,1". */
  readonly redirect?: { readonly address: string; readonly permanent: boolean };
}

export interface IscsiTarget {
  readonly local: Endpoint;
  /** May be changed while the target runs. */
  readonly faults: TargetFaults;
  /** Sessions in the full feature phase. */
  sessions(): readonly TargetSession[];
  /** Stops listening, drops every session; resolves when no device is in use. */
  close(): Promise<void>;
}

export async function startIscsiTarget(options: IscsiTargetOptions): Promise<IscsiTarget> {
  const target = new Target(options);
  await target.start();
  return target;
}

const DEFAULT_WINDOW_COMMANDS = 32;

class Target implements IscsiTarget {
  readonly faults: TargetFaults = {};
  private readonly units: ReadonlyMap<number, LogicalUnit>;
  private readonly open = new Set<TargetSession>();
  private readonly connections = new Set<PduTransport>();
  private listener: { local: Endpoint; close(): Promise<void> } | undefined;
  private lastTsih = 0;
  /** Logins complete one after the other: two with the same initiator port cannot both be the newer one. */
  private entering: Promise<void> = Promise.resolve();

  constructor(private readonly options: IscsiTargetOptions) {
    this.units = new Map(
      Object.entries(options.luns).map(([lun, unit]) => [
        Number(lun),
        new LogicalUnit({ ...unit, serial: unit.serial ?? `SIM${lun.padStart(4, '0')}` }),
      ]),
    );
  }

  async start(): Promise<void> {
    const { network, address, port } = this.options;
    this.listener = await network.listen({ port, ...(address !== undefined && { address }) }, (connection) => this.accept(connection));
  }

  get local(): Endpoint {
    return this.listener?.local ?? { address: '', port: 0 };
  }

  sessions(): readonly TargetSession[] {
    return [...this.open];
  }

  async close(): Promise<void> {
    for (const transport of this.connections) transport.destroy();
    await Promise.all([...this.open].map((session) => session.drop()));
    await this.listener?.close();
  }

  private accept(raw: TcpConnection): void {
    const { faults, options } = this;
    const { logger, portalGroupTag = 1, windowCommands = DEFAULT_WINDOW_COMMANDS } = options;
    const transport = new PduTransport(faultyConnection(raw, faults));
    this.connections.add(transport);
    const loginOptions: TargetLoginOptions = {
      targetName: options.targetName,
      portalGroupTag,
      preferences: { ...DEFAULT_PREFERENCES, ...options.preferences },
      random: options.random,
      windowCommands,
      ...(options.chap && { chap: options.chap }),
      ...(options.redirect && { redirect: options.redirect }),
      ...(faults.loginStatus !== undefined && { loginStatus: faults.loginStatus }),
    };
    const login = new TargetLogin(loginOptions);
    let session: TargetSession | undefined;
    transport.onEnd = (error) => {
      this.connections.delete(transport);
      if (error instanceof PduError) logger.warn({ from: portalName(raw.remote), error: error.message }, 'an initiator broke the protocol');
      const gone = session;
      // it counts as long as a task of it may still be writing: a new login has to wait for that
      void gone?.drop().finally(() => this.open.delete(gone));
    };
    transport.onPdu = (pdu) => {
      if (session) {
        session.receive(pdu);
        return;
      }
      if (pdu.kind !== 'login-request') throw new PduError(`a login begins with a login request, not with ${pdu.kind}`);
      const tsih = (this.lastTsih % 0xffff) + 1;
      const step = login.receive(pdu, tsih);
      if (!step.loggedIn) {
        transport.send(step.response);
        if (step.failed) transport.end();
        return;
      }
      this.lastTsih = tsih;
      const entered = this.enter(transport, step.loggedIn, tsih);
      const newcomer = entered.session;
      session = newcomer;
      // an initiator waits for this response before it sends anything; what comes earlier finds the session ready
      void entered.ready.then(() => {
        transport.send(step.response);
        newcomer.begin();
      });
    };
    void transport.run();
  }

  /** Section 6.3.5: the older session of the same initiator port is gone, tasks and all, before the new one is told of its login. */
  private enter(transport: PduTransport, login: LoggedIn, tsih: number): { session: TargetSession; ready: Promise<void> } {
    const { clock, logger, targetName, portalGroupTag = 1, windowCommands = DEFAULT_WINDOW_COMMANDS, unitAttention = true } = this.options;
    const session = new TargetSession({
      transport,
      clock,
      logger,
      login,
      tsih,
      units: login.discovery ? new Map() : this.units,
      faults: this.faults,
      windowCommands,
      unitAttention,
      onLogout: (left) => this.open.delete(left),
      directory: () => [
        ['TargetName', targetName],
        ['TargetAddress', `${portalName(this.local)},${portalGroupTag}`],
      ],
    });
    const older =
      login.discovery || this.options.reinstatement === false
        ? []
        : [...this.open].filter((other) => other.initiatorName === login.initiatorName && other.isid === login.isid);
    for (const other of older) {
      this.open.delete(other);
      logger.info({ initiatorName: login.initiatorName, isid: login.isid }, 'a session is reinstated: the older one is dropped');
    }
    if (!login.discovery) this.open.add(session);
    const dropped = older.map((other) => other.drop());
    this.entering = this.entering.then(async () => {
      await Promise.all(dropped);
    });
    return { session, ready: this.entering };
  }
}
