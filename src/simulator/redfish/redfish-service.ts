/**
 * A Redfish service without hardware, after the public DMTF schemas (ServiceRoot, SessionService, ComputerSystem, Chassis, Sensor, Thermal, Task), for the simulator's machines
 * and for tests of foreign clients. It switches the same `Chassis` as the simulated IPMI controller, through the same sequencer. HTTP handler only: TLS is the network's.
 */
import type {
  Clock,
  HttpHandler,
  HttpRequest,
  HttpResponse,
  HttpServer,
  HttpTls,
  Network,
  Random,
} from 'cdk8s-baremetal-runtime/core/index';
import { type BootOverride, type Chassis, type ChassisDelays, PowerSequencer } from '../bmc/chassis.ts';
import { RedfishAccounts, type RedfishUser } from './redfish-accounts.ts';
import { bodyOf, failure, JSON_TYPE, json } from './redfish-messages.ts';
import {
  BOOT_ENABLED,
  BOOT_MODES,
  BOOT_TARGETS,
  type RedfishView,
  resources,
  SYSTEM,
  serviceRoot,
  sessionResource,
  taskResource,
  V1,
} from './redfish-resources.ts';

/** What is wrong with it, by switch. */
export interface RedfishFaults {
  /** No SessionService: basic authentication only. */
  basicOnly: boolean;
  /** Resets answer 202 and are done after so long. */
  taskMs: number | undefined;
  /** Tasks end in Exception. */
  taskFails: boolean;
  /** Accepts resets and does nothing. */
  stuck: boolean;
  /** Accepts boot settings and keeps others. */
  forgetsBoot: boolean;
  /** So many PATCHes meet a system that has just changed. */
  changesMeanwhile: number;
  /** Every GET is sent on to there. */
  redirect: string | undefined;
  /** The list of ResetTypes stands in an ActionInfo. */
  actionInfo: boolean;
  /** Thermal in place of Sensors. */
  oldSensors: boolean;
}

export interface SimulatedRedfishOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly users: readonly RedfishUser[];
  readonly chassis: Chassis;
  readonly delays?: ChassisDelays;
  readonly uuid?: string;
  readonly resetTypes?: readonly string[];
  readonly faults?: Partial<RedfishFaults>;
  /** Default 1,800,000. */
  readonly sessionTimeoutMs?: number;
}

const DEFAULT_SESSION_TIMEOUT_MS = 1_800_000;
const RESET_TYPES = ['On', 'ForceOff', 'GracefulShutdown', 'ForceRestart', 'Nmi', 'PowerCycle'];
const VERBS = {
  On: 'on',
  ForceOn: 'on',
  ForceOff: 'off',
  GracefulShutdown: 'softOff',
  ForceRestart: 'reset',
  Nmi: 'diagnosticInterrupt',
  PowerCycle: 'cycle',
} as const;
const DEVICES: Readonly<Record<string, BootOverride['device']>> = { Pxe: 'pxe', Hdd: 'disk', Cd: 'cdrom', BiosSetup: 'bios' };

export class SimulatedRedfish {
  readonly faults: RedfishFaults;
  /** Method and path of every request. */
  readonly requests: string[] = [];
  boot = { enabled: 'Disabled', target: 'None', mode: 'Legacy' };
  readonly #options: SimulatedRedfishOptions;
  readonly #power: PowerSequencer;
  readonly #accounts: RedfishAccounts;
  /** When each one ends. */
  readonly #tasks = new Map<string, number>();
  readonly #uuid: string;
  #version = 1;

  constructor(options: SimulatedRedfishOptions) {
    this.#options = options;
    const { clock, random, users, sessionTimeoutMs: timeoutMs = DEFAULT_SESSION_TIMEOUT_MS } = options;
    this.#accounts = new RedfishAccounts({ clock, random, users, timeoutMs });
    this.faults = {
      basicOnly: false,
      taskMs: undefined,
      taskFails: false,
      stuck: false,
      forgetsBoot: false,
      changesMeanwhile: 0,
      redirect: undefined,
      actionInfo: false,
      oldSensors: false,
      ...options.faults,
    };
    const hex = Buffer.from(random.bytes(16)).toString('hex');
    this.#uuid = options.uuid ?? hex.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5');
    this.#power = new PowerSequencer(
      clock,
      options.chassis,
      options.delays ?? {},
      () => this.#takeBoot(),
      () => {
        this.#version += 1;
      },
    );
  }

  get sessions(): number {
    return this.#accounts.sessionIds.length;
  }

  /** Log-ins by whether they worked. */
  get logIns(): Readonly<RedfishAccounts['logIns']> {
    return this.#accounts.logIns;
  }

  /** As a service that restarted: tokens are worth nothing. */
  endSessions(): void {
    this.#accounts.endAll();
  }

  serve(network: Network, where: { readonly address?: string; readonly port: number; readonly tls: HttpTls }): Promise<HttpServer> {
    return network.serveHttp(where, this.handler);
  }

  close(): void {
    this.#power.close();
  }

  readonly handler: HttpHandler = async (request) => {
    this.requests.push(`${request.method} ${request.path}`);
    if (request.method === 'GET' && this.faults.redirect !== undefined) return { status: 302, headers: { location: this.faults.redirect } };
    const path = request.path.replace(/\/$/, '');
    if (path === '/redfish' && request.method === 'GET') return json({ v1: `${V1}/` });
    if (path === V1 && request.method === 'GET') return json(serviceRoot(this.#view));
    if (path === `${V1}/SessionService/Sessions` && request.method === 'POST' && !this.faults.basicOnly) return this.#logIn(request);
    const user = this.#accounts.userOf(request);
    if (!user)
      return { ...failure(401, 'NoValidSession', 'There is no valid session.'), headers: { 'www-authenticate': 'Basic realm="Redfish"' } };
    if (request.method !== 'GET' && user.role === 'ReadOnly' && !path.startsWith(`${V1}/SessionService`))
      return failure(403, 'InsufficientPrivilege', 'There are insufficient privileges for the account.');
    return this.#answer(request, path);
  };

  #answer(request: HttpRequest, path: string): HttpResponse {
    const { method } = request;
    const session = new RegExp(`^${V1}/SessionService/Sessions/(\\w+)$`).exec(path)?.[1];
    const task = new RegExp(`^${V1}/TaskService/(?:TaskMonitors|Tasks)/(\\w+)$`).exec(path)?.[1];
    if (session !== undefined && method === 'DELETE') return { status: this.#accounts.end(session) ? 204 : 404 };
    if (path === SYSTEM && method === 'PATCH') return this.#patch(request);
    if (path === `${SYSTEM}/Actions/ComputerSystem.Reset` && method === 'POST') return this.#reset(request);
    if (method !== 'GET') return failure(405, 'OperationNotAllowed', 'The operation is not allowed.');
    if (task !== undefined) return this.#task(task);
    const found = resources(this.#view)[path];
    if (found === undefined) return failure(404, 'ResourceMissingAtURI', `There is no resource ${path}.`);
    return path === SYSTEM ? { ...json(found), headers: { ...JSON_TYPE, etag: this.#etag } } : json(found);
  }

  #logIn(request: HttpRequest): HttpResponse {
    const { UserName, Password } = bodyOf(request);
    const session = this.#accounts.logIn(UserName, Password);
    if (session === 'wrong') return failure(401, 'NoValidSession', 'The user name or the password is wrong.');
    if (session === 'full') return failure(503, 'SessionLimitExceeded', 'There are as many sessions as there may be.');
    const location = `${V1}/SessionService/Sessions/${session.id}`;
    return {
      ...json(sessionResource(session.id, session.user.name), 201),
      headers: { ...JSON_TYPE, location, 'x-auth-token': session.token },
    };
  }

  #patch(request: HttpRequest): HttpResponse {
    const asked = request.headers['if-match'];
    if (this.faults.changesMeanwhile > 0) {
      this.faults.changesMeanwhile -= 1;
      this.#version += 1;
    }
    if (asked === undefined) return failure(428, 'PreconditionRequired', 'If-Match is missing.');
    if (asked !== this.#etag && asked !== '*') return failure(412, 'PreconditionFailed', 'The resource has changed.');
    const boot = bodyOf(request).Boot;
    const given = typeof boot === 'object' && boot !== null ? (boot as Record<string, unknown>) : {};
    const { BootSourceOverrideEnabled: enabled, BootSourceOverrideTarget: target, BootSourceOverrideMode: mode } = given;
    const wrong =
      (enabled !== undefined && !BOOT_ENABLED.includes(String(enabled))) ||
      (target !== undefined && !BOOT_TARGETS.includes(String(target))) ||
      (mode !== undefined && !BOOT_MODES.includes(String(mode)));
    if (wrong) return failure(400, 'PropertyValueNotInList', 'A value is not in the list of acceptable values.');
    this.#version += 1;
    if (!this.faults.forgetsBoot)
      this.boot = {
        enabled: String(enabled ?? this.boot.enabled),
        target: enabled === 'Disabled' ? 'None' : String(target ?? this.boot.target),
        mode: String(mode ?? this.boot.mode),
      };
    return { status: 204 };
  }

  #reset(request: HttpRequest): HttpResponse {
    const { ResetType: type } = bodyOf(request);
    const { resetTypes = RESET_TYPES, chassis, clock } = this.#options;
    if (!resetTypes.includes(String(type)))
      return failure(400, 'ActionParameterNotSupported', `ResetType ${String(type)} is not supported.`);
    if (type === 'On' && chassis.powered) return failure(409, 'ResourceInUse', 'The system is already powered on.');
    this.#power.stuck = this.faults.stuck || this.faults.taskFails;
    const verb = VERBS[String(type) as keyof typeof VERBS];
    const { taskMs } = this.faults;
    if (taskMs === undefined) {
      this.#power[verb]();
      return { status: 204 };
    }
    const id = String(this.#tasks.size + 1);
    this.#tasks.set(id, clock.monotonic() + taskMs);
    clock.after(taskMs, () => this.#power[verb]());
    return {
      ...json(taskResource(id, this.#stateOf(id)), 202),
      headers: { ...JSON_TYPE, location: `${V1}/TaskService/TaskMonitors/${id}`, 'retry-after': '1' },
    };
  }

  #task(id: string): HttpResponse {
    if (!this.#tasks.has(id)) return failure(404, 'ResourceMissingAtURI', 'There is no such task.');
    const state = this.#stateOf(id);
    return json(taskResource(id, state), state === 'Running' ? 202 : 200);
  }

  #stateOf(task: string): 'Running' | 'Completed' | 'Exception' {
    if (this.#options.clock.monotonic() < (this.#tasks.get(task) ?? 0)) return 'Running';
    return this.faults.taskFails ? 'Exception' : 'Completed';
  }

  #takeBoot(): BootOverride {
    const { enabled, target, mode } = this.boot;
    if (enabled === 'Once') this.boot = { enabled: 'Disabled', target: 'None', mode };
    this.#version += 1;
    if (enabled === 'Disabled') return { device: 'none', efi: false };
    return { device: DEVICES[target] ?? 'none', efi: mode === 'UEFI' };
  }

  get #etag(): string {
    return `W/"${this.#version}"`;
  }

  get #view(): RedfishView {
    const { resetTypes = RESET_TYPES, chassis, sessionTimeoutMs: timeoutMs = DEFAULT_SESSION_TIMEOUT_MS } = this.#options;
    const { basicOnly, actionInfo, oldSensors } = this.faults;
    return {
      uuid: this.#uuid,
      powered: chassis.powered,
      boot: this.boot,
      etag: this.#etag,
      resetTypes,
      ...(!basicOnly && { sessions: { ids: this.#accounts.sessionIds, timeoutMs } }),
      actionInfo,
      oldSensors,
    };
  }
}
