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

export interface RedfishUser {
  readonly name: string;
  readonly password: string;
  /** DSP0266, predefined roles. */
  readonly role: 'Administrator' | 'Operator' | 'ReadOnly';
}

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

interface Session {
  readonly id: string;
  readonly token: string;
  readonly user: RedfishUser;
  usedAtMs: number;
}

const V1 = '/redfish/v1';
const SYSTEM = `${V1}/Systems/1`;
const RESET_TYPES = ['On', 'ForceOff', 'GracefulShutdown', 'ForceRestart', 'Nmi', 'PowerCycle'];
const TARGETS = ['None', 'Pxe', 'Hdd', 'Cd', 'BiosSetup', 'UefiHttp'];
const DEVICES: Readonly<Record<string, BootOverride['device']>> = { Pxe: 'pxe', Hdd: 'disk', Cd: 'cdrom', BiosSetup: 'bios' };
const MOST_SESSIONS = 16;

export class SimulatedRedfish {
  readonly faults: RedfishFaults;
  /** Method and path of every request, and log-ins by whether they worked. */
  readonly requests: string[] = [];
  readonly logIns = { good: 0, bad: 0 };
  boot = { enabled: 'Disabled', target: 'None', mode: 'Legacy' };
  readonly #options: SimulatedRedfishOptions;
  readonly #power: PowerSequencer;
  readonly #sessions = new Map<string, Session>();
  readonly #tasks = new Map<string, number>();
  readonly #uuid: string;
  #version = 1;
  #numbers = 0;

  constructor(options: SimulatedRedfishOptions) {
    this.#options = options;
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
    const hex = Buffer.from(options.random.bytes(16)).toString('hex');
    this.#uuid = options.uuid ?? hex.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, '$1-$2-4$3-8$4-$5');
    this.#power = new PowerSequencer(
      options.clock,
      options.chassis,
      options.delays ?? {},
      () => this.#takeBoot(),
      () => {
        this.#version += 1;
      },
    );
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  /** As a service that restarted: tokens are worth nothing. */
  endSessions(): void {
    this.#sessions.clear();
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
    if (path === V1 && request.method === 'GET') return json(this.#root());
    if (path === `${V1}/SessionService/Sessions` && request.method === 'POST' && !this.faults.basicOnly) return this.#logIn(request);
    const user = this.#userOf(request);
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
    if (session !== undefined && method === 'DELETE') return { status: this.#sessions.delete(session) ? 204 : 404 };
    if (path === SYSTEM && method === 'PATCH') return this.#patch(request);
    if (path === `${SYSTEM}/Actions/ComputerSystem.Reset` && method === 'POST') return this.#reset(request);
    if (method !== 'GET') return failure(405, 'OperationNotAllowed', 'The operation is not allowed.');
    if (task !== undefined) return this.#task(task);
    if (path === SYSTEM) return { ...json(this.#system()), headers: { ...JSON_TYPE, etag: this.#etag } };
    const found = this.#resources()[path];
    return found === undefined ? failure(404, 'ResourceMissingAtURI', `There is no resource ${path}.`) : json(found);
  }

  #logIn(request: HttpRequest): HttpResponse {
    const { UserName, Password } = bodyOf(request);
    const user = this.#options.users.find(({ name, password }) => name === UserName && password === Password);
    this.logIns[user ? 'good' : 'bad'] += 1;
    if (!user) return failure(401, 'NoValidSession', 'The user name or the password is wrong.');
    if (this.#sessions.size >= MOST_SESSIONS) return failure(503, 'SessionLimitExceeded', 'There are as many sessions as there may be.');
    const id = String(++this.#numbers);
    const token = Buffer.from(this.#options.random.bytes(16)).toString('hex');
    this.#sessions.set(id, { id, token, user, usedAtMs: this.#options.clock.monotonic() });
    const location = `${V1}/SessionService/Sessions/${id}`;
    const resource = { '@odata.id': location, '@odata.type': '#Session.v1_3_0.Session', Id: id, Name: 'Session', UserName: user.name };
    return { status: 201, headers: { ...JSON_TYPE, location, 'x-auth-token': token }, body: JSON.stringify(resource) };
  }

  #userOf({ headers }: HttpRequest): RedfishUser | undefined {
    const { clock, users, sessionTimeoutMs = 1_800_000 } = this.#options;
    const token = headers['x-auth-token'];
    const session = [...this.#sessions.values()].find((one) => one.token === token);
    if (session && clock.monotonic() - session.usedAtMs > sessionTimeoutMs) this.#sessions.delete(session.id);
    else if (session) {
      session.usedAtMs = clock.monotonic();
      return session.user;
    }
    const basic = /^Basic (.+)$/.exec(headers.authorization ?? '')?.[1];
    if (basic === undefined) return undefined;
    const user = users.find(({ name, password }) => Buffer.from(`${name}:${password}`).toString('base64') === basic);
    this.logIns[user ? 'good' : 'bad'] += 1;
    return user;
  }

  get #etag(): string {
    return `W/"${this.#version}"`;
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
      (enabled !== undefined && !['Disabled', 'Once', 'Continuous'].includes(String(enabled))) ||
      (target !== undefined && !TARGETS.includes(String(target))) ||
      (mode !== undefined && !['UEFI', 'Legacy'].includes(String(mode)));
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
    const act = {
      On: 'on',
      ForceOn: 'on',
      ForceOff: 'off',
      GracefulShutdown: 'softOff',
      ForceRestart: 'reset',
      Nmi: 'diagnosticInterrupt',
      PowerCycle: 'cycle',
    } as const;
    const verb = act[String(type) as keyof typeof act];
    const { taskMs } = this.faults;
    if (taskMs === undefined) {
      this.#power[verb]();
      return { status: 204 };
    }
    const id = String(++this.#numbers);
    this.#tasks.set(id, clock.monotonic() + taskMs);
    clock.after(taskMs, () => this.#power[verb]());
    return {
      ...json(this.#taskOf(id), 202),
      headers: { ...JSON_TYPE, location: `${V1}/TaskService/TaskMonitors/${id}`, 'retry-after': '1' },
    };
  }

  #task(id: string): HttpResponse {
    const endMs = this.#tasks.get(id);
    if (endMs === undefined) return failure(404, 'ResourceMissingAtURI', 'There is no such task.');
    return json(this.#taskOf(id), this.#options.clock.monotonic() < endMs ? 202 : 200);
  }

  #taskOf(id: string): object {
    const done = this.#options.clock.monotonic() >= (this.#tasks.get(id) ?? 0);
    const state = !done ? 'Running' : this.faults.taskFails ? 'Exception' : 'Completed';
    const Messages =
      state === 'Exception' ? [{ MessageId: 'Base.1.8.InternalError', Message: 'The power sequencer does not answer.' }] : [];
    return {
      '@odata.id': `${V1}/TaskService/Tasks/${id}`,
      '@odata.type': '#Task.v1_5_0.Task',
      Id: id,
      Name: 'Task',
      TaskState: state,
      Messages,
    };
  }

  #takeBoot(): BootOverride {
    const { enabled, target, mode } = this.boot;
    if (enabled === 'Once') this.boot = { enabled: 'Disabled', target: 'None', mode };
    this.#version += 1;
    if (enabled === 'Disabled') return { device: 'none', efi: false };
    return { device: DEVICES[target] ?? 'none', efi: mode === 'UEFI' };
  }

  #root(): object {
    return {
      '@odata.id': `${V1}/`,
      '@odata.type': '#ServiceRoot.v1_11_0.ServiceRoot',
      Id: 'RootService',
      Name: 'Root Service',
      RedfishVersion: '1.13.0',
      UUID: this.#uuid,
      Systems: link('/Systems'),
      Chassis: link('/Chassis'),
      Managers: link('/Managers'),
      Tasks: link('/TaskService'),
      ...(!this.faults.basicOnly && { SessionService: link('/SessionService') }),
      Links: this.faults.basicOnly ? {} : { Sessions: link('/SessionService/Sessions') },
    };
  }

  #system(): object {
    const { resetTypes = RESET_TYPES, chassis } = this.#options;
    const types = this.faults.actionInfo
      ? { '@Redfish.ActionInfo': `${SYSTEM}/ResetActionInfo` }
      : { 'ResetType@Redfish.AllowableValues': resetTypes };
    return {
      '@odata.id': SYSTEM,
      '@odata.type': '#ComputerSystem.v1_14_0.ComputerSystem',
      '@odata.etag': this.#etag,
      Id: '1',
      Name: 'Simulated server',
      SystemType: 'Physical',
      UUID: this.#uuid,
      Status: { State: 'Enabled', Health: 'OK' },
      PowerState: chassis.powered ? 'On' : 'Off',
      Boot: {
        BootSourceOverrideEnabled: this.boot.enabled,
        'BootSourceOverrideEnabled@Redfish.AllowableValues': ['Disabled', 'Once', 'Continuous'],
        BootSourceOverrideTarget: this.boot.target,
        'BootSourceOverrideTarget@Redfish.AllowableValues': TARGETS,
        BootSourceOverrideMode: this.boot.mode,
        'BootSourceOverrideMode@Redfish.AllowableValues': ['Legacy', 'UEFI'],
      },
      Actions: { '#ComputerSystem.Reset': { target: `${SYSTEM}/Actions/ComputerSystem.Reset`, ...types } },
      Links: { Chassis: [link('/Chassis/1')] },
    };
  }

  #resources(): Readonly<Record<string, object>> {
    const { resetTypes = RESET_TYPES, chassis } = this.#options;
    const one = `${V1}/Chassis/1`;
    const inlet = { Name: 'Inlet Temp', Status: { State: 'Enabled', Health: 'OK' } };
    const fan = { Name: 'Fan 1', Status: { State: 'Enabled', Health: 'OK' } };
    const rpm = chassis.powered ? 5400 : 0;
    const sensors = this.faults.oldSensors
      ? { Thermal: { '@odata.id': `${one}/Thermal` } }
      : { Sensors: { '@odata.id': `${one}/Sensors` } };
    return {
      [`${V1}/Systems`]: collection('/Systems', 'ComputerSystemCollection', ['/Systems/1']),
      [`${V1}/Managers`]: collection('/Managers', 'ManagerCollection', []),
      [`${V1}/Chassis`]: collection('/Chassis', 'ChassisCollection', ['/Chassis/1']),
      [one]: {
        '@odata.id': one,
        '@odata.type': '#Chassis.v1_16_0.Chassis',
        Id: '1',
        Name: 'Chassis',
        ChassisType: 'RackMount',
        ...sensors,
      },
      [`${one}/Sensors`]: collection('/Chassis/1/Sensors', 'SensorCollection', ['/Chassis/1/Sensors/inlet', '/Chassis/1/Sensors/fan1']),
      [`${one}/Sensors/inlet`]: {
        '@odata.id': `${one}/Sensors/inlet`,
        Id: 'inlet',
        ...inlet,
        ReadingType: 'Temperature',
        Reading: 21.5,
        ReadingUnits: 'Cel',
      },
      [`${one}/Sensors/fan1`]: {
        '@odata.id': `${one}/Sensors/fan1`,
        Id: 'fan1',
        ...fan,
        ReadingType: 'Rotational',
        Reading: rpm,
        ReadingUnits: 'RPM',
      },
      [`${one}/Thermal`]: {
        '@odata.id': `${one}/Thermal`,
        '@odata.type': '#Thermal.v1_7_0.Thermal',
        Id: 'Thermal',
        Name: 'Thermal',
        Temperatures: [{ ...inlet, ReadingCelsius: 21.5 }],
        Fans: [{ ...fan, Reading: rpm, ReadingUnits: 'RPM' }],
      },
      [`${SYSTEM}/ResetActionInfo`]: {
        '@odata.id': `${SYSTEM}/ResetActionInfo`,
        '@odata.type': '#ActionInfo.v1_2_0.ActionInfo',
        Id: 'ResetActionInfo',
        Name: 'Reset Action Info',
        Parameters: [{ Name: 'ResetType', Required: true, DataType: 'String', AllowableValues: resetTypes }],
      },
      [`${V1}/TaskService`]: {
        '@odata.id': `${V1}/TaskService`,
        '@odata.type': '#TaskService.v1_2_0.TaskService',
        Id: 'TaskService',
        Name: 'Task Service',
      },
      ...(!this.faults.basicOnly && {
        [`${V1}/SessionService`]: {
          '@odata.id': `${V1}/SessionService`,
          '@odata.type': '#SessionService.v1_1_8.SessionService',
          Id: 'SessionService',
          Name: 'Session Service',
          ServiceEnabled: true,
          SessionTimeout: (this.#options.sessionTimeoutMs ?? 1_800_000) / 1000,
          Sessions: link('/SessionService/Sessions'),
        },
        [`${V1}/SessionService/Sessions`]: collection(
          '/SessionService/Sessions',
          'SessionCollection',
          [...this.#sessions.keys()].map((id) => `/SessionService/Sessions/${id}`),
        ),
      }),
    };
  }
}

const JSON_TYPE = { 'content-type': 'application/json', 'odata-version': '4.0' };

function json(body: object, status = 200): HttpResponse {
  return { status, headers: JSON_TYPE, body: JSON.stringify(body) };
}

function link(path: string): { '@odata.id': string } {
  return { '@odata.id': `${V1}${path}` };
}

function collection(path: string, type: string, members: readonly string[]): object {
  return {
    ...link(path),
    '@odata.type': `#${type}.${type}`,
    Name: type,
    'Members@odata.count': members.length,
    Members: members.map(link),
  };
}

/** DSP0266, "Error responses". */
function failure(status: number, id: string, message: string): HttpResponse {
  const error = {
    code: `Base.1.8.${id}`,
    message: 'See @Message.ExtendedInfo for more information.',
    '@Message.ExtendedInfo': [{ '@odata.type': '#Message.v1_1_1.Message', MessageId: `Base.1.8.${id}`, Message: message }],
  };
  return json({ error }, status);
}

/** What is no object is an empty one. */
function bodyOf({ body }: HttpRequest): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
