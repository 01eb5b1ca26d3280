/**
 * One Redfish service (DMTF DSP0266): logging in, asking, and waiting for what it does later. Shared by all who speak to the same service.
 *
 * A session where there is a SessionService, its token kept and deleted at the end; else basic authentication. A password that was refused stops all traffic, as the
 * IPMI gateway does it and in the same place (`StopGuard`). Only this origin is spoken to: of every address that the service names, only the path counts, and
 * redirects to other hosts are not followed, so a token cannot be led away.
 */
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { type Clock, sleep } from '../../core/clock.ts';
import { CertificateRefused, type HttpClientResponse, type Network } from '../../core/network.ts';
import type { Random } from '../../core/random.ts';
import { codeOf, isAuthenticationFailure, powerErrors } from '../errors.ts';
import type { StopGuard } from '../ipmi/bmc-stop.ts';
import { Breaker } from '../ipmi/breaker.ts';
import { Turnstile } from '../ipmi/turnstile.ts';
import { asObject, at, type Json, nextTextOf, refusalText } from './json.ts';

export interface RedfishClientOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly guard: StopGuard;
  /** `host:port`, for people. */
  readonly bmc: string;
  /** `https://host:port` */
  readonly origin: string;
  readonly username: string;
  readonly password: Secret;
  /** PEM. Default: the system's. */
  readonly ca?: string | undefined;
  /** Hex. The one certificate to trust. */
  readonly sha256?: string | undefined;
  /** Of one request. Default 30,000: management controllers are slow. */
  readonly timeoutMs?: number;
  /** For a task to end. Default 120,000. */
  readonly taskMs?: number;
}

interface RedfishRequest {
  readonly method: string;
  readonly path: string;
  readonly body?: object;
  readonly etag?: string | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly json: Json;
}

const ROOT = '/redfish/v1/';
const MOST_REDIRECTS = 3;
const TIMEOUT_MS = 30_000;
const TASK_MS = 120_000;
const MAX_BODY_BYTES = 4 * 1024 * 1024;
const RUNNING = new Set(['New', 'Starting', 'Running', 'Pending', 'Service', 'Stopping', 'Suspended', 'Cancelling']);
const FAILED = new Set(['Exception', 'Killed', 'Cancelled', 'Interrupted']);

type Login = { readonly token: string; readonly path: string | undefined } | 'basic';

export class RedfishClient {
  readonly #options: RedfishClientOptions;
  readonly #queue = new Turnstile(1);
  readonly #breaker: Breaker;
  #login: Login | undefined;

  constructor(options: RedfishClientOptions) {
    this.#options = options;
    this.#breaker = new Breaker(options.bmc, options.clock, options.random);
  }

  get bmc(): string {
    return this.#options.bmc;
  }

  /** Was it made with this password? */
  has(password: Secret): boolean {
    return this.#options.password.equals(password);
  }

  get(path: string, signal?: AbortSignal): Promise<Answer> {
    return this.ask({ method: 'GET', path }, signal);
  }

  /** Errors: REDFISH_*, and IPMI_AUTH_HELD and IPMI_BMC_RESTING of whatever is left alone. Answers of 400 and above are REDFISH_REFUSED but 412. */
  async ask(request: RedfishRequest, signal?: AbortSignal): Promise<Answer> {
    const first = await this.#turn(request, signal);
    // between its looks at a task it lets others go: a service may have many machines
    const answer = first.status === 202 ? await this.#awaitTask(first, signal) : first;
    const what = `${request.method} ${request.path}`;
    if (answer.status === 412) return answer;
    if (answer.status === 401 || answer.status === 403)
      throw powerErrors.REDFISH_PRIVILEGE({ ...this.#who(), what, why: refusalText(answer) });
    if (answer.status >= 400) throw powerErrors.REDFISH_REFUSED({ bmc: this.bmc, what, why: refusalText(answer) });
    return answer;
  }

  async #turn(request: RedfishRequest, signal: AbortSignal | undefined): Promise<Answer> {
    await this.#queue.enter(signal);
    try {
      if (this.#breaker.state === 'open' && (await this.#options.guard.woken())) this.#breaker.answered();
      this.#breaker.enter();
      const answer = await this.#askLoggedIn(request, signal);
      this.#breaker.answered();
      return answer;
    } catch (error) {
      const code = codeOf(error);
      if (signal?.aborted || !/^(?:REDFISH|IPMI)_/.test(code) || code === 'IPMI_AUTH_HELD') this.#breaker.undecided();
      else if (code === 'REDFISH_NO_ANSWER') this.#breaker.silent();
      else if (code !== 'IPMI_BMC_RESTING') this.#breaker.answered();
      throw error;
    } finally {
      this.#queue.leave();
    }
  }

  /** Deletes the session. Never throws: a service ends forgotten ones itself. May be used again. */
  async close(): Promise<void> {
    const login = this.#login;
    this.#login = undefined;
    await this.#end(login);
  }

  async #end(login: Login | undefined): Promise<void> {
    if (login === undefined || login === 'basic' || login.path === undefined) return;
    try {
      await this.#send('DELETE', login.path, { 'x-auth-token': login.token }, undefined, undefined, CLOSE_MS);
    } catch {
      // it is gone, or ends by itself
    }
  }

  async #askLoggedIn(request: RedfishRequest, signal: AbortSignal | undefined): Promise<Answer> {
    const { method, body, etag } = request;
    const path = this.#pathOf(request.path);
    const headers: Readonly<Record<string, string>> = etag === undefined ? {} : { 'if-match': etag };
    const fresh = this.#login === undefined;
    this.#login ??= await this.#logIn(signal);
    let answer = await this.#send(method, path, { ...this.#authorization(), ...headers }, body, signal);
    if (answer.status === 401 && this.#login !== 'basic' && !fresh) {
      // a token runs out after some minutes without use (SessionTimeout): one log-in, with the credentials that worked
      const before = this.#login;
      this.#login = undefined;
      this.#login = await this.#logIn(signal);
      answer = await this.#send(method, path, { ...this.#authorization(), ...headers }, body, signal);
      // it was no matter of the token, which is good still: a service has room for a few sessions
      if (answer.status === 401) await this.#end(before);
    }
    if (answer.status === 401 && this.#login === 'basic') {
      this.#login = undefined;
      await this.#refused();
    }
    return answer;
  }

  /** Never tries refused credentials again, whoever calls. */
  async #logIn(signal: AbortSignal | undefined): Promise<Login> {
    const { guard, username, password } = this.#options;
    await guard.enter(this.#options);
    const root = await this.#send('GET', ROOT, {}, undefined, signal);
    if (root.status !== 200 || typeof root.json.RedfishVersion !== 'string') throw powerErrors.REDFISH_NOT_REDFISH({ bmc: this.bmc });
    const service = nextTextOf(root.json, 'SessionService', '@odata.id');
    const sessions = nextTextOf(root.json, 'Links', 'Sessions', '@odata.id') ?? (service && `${service.replace(/\/$/, '')}/Sessions`);
    // asked where there is none, a service may say 401 as it does to all strangers: that would look like a wrong password
    if (sessions === undefined) return this.#proveBasic(root, signal);
    const body = { UserName: username, Password: password.reveal() };
    const answer = await this.#send('POST', this.#pathOf(sessions), {}, body, signal);
    const token = answer.headers['x-auth-token'];
    if ((answer.status === 200 || answer.status === 201) && token !== undefined) {
      await guard.succeeded(this.#options);
      const path = answer.headers.location ?? at(answer.json, '@odata.id');
      return { token, path: typeof path === 'string' ? this.#pathOf(path) : undefined };
    }
    // a POST that is a wrong password is 400 or 401 in the field; basic authentication would send it a second time
    if (
      answer.status === 401 ||
      answer.status === 403 ||
      (answer.status === 400 && /password|credential|authori/i.test(refusalText(answer)))
    )
      await this.#refused();
    if (![404, 405, 501].includes(answer.status))
      throw powerErrors.REDFISH_REFUSED({ bmc: this.bmc, what: 'a session', why: refusalText(answer) });
    return this.#proveBasic(root, signal);
  }

  /** No sessions here. The password is proved by the collection of systems, which no stranger may read. */
  async #proveBasic(root: Answer, signal: AbortSignal | undefined): Promise<Login> {
    const systems = nextTextOf(root.json, 'Systems', '@odata.id') ?? '/redfish/v1/Systems';
    const proof = await this.#send('GET', this.#pathOf(systems), this.#basic(), undefined, signal);
    if (proof.status === 401) await this.#refused();
    await this.#options.guard.succeeded(this.#options);
    return 'basic';
  }

  async #refused(): Promise<never> {
    const error = powerErrors.REDFISH_WRONG_PASSWORD(this.#who());
    if (isAuthenticationFailure(error)) await this.#options.guard.failed(this.#options, error);
    throw error;
  }

  #who(): { bmc: string; user: string } {
    return { bmc: this.bmc, user: this.#options.username };
  }

  #authorization(): Readonly<Record<string, string>> {
    return this.#login === undefined || this.#login === 'basic' ? this.#basic() : { 'x-auth-token': this.#login.token };
  }

  #basic(): Readonly<Record<string, string>> {
    const { username, password } = this.#options;
    return { authorization: `Basic ${Buffer.from(`${username}:${password.reveal()}`).toString('base64')}` };
  }

  /** DSP0266 section "Asynchronous operations": the monitor answers 202 until the work is done, then with its result. */
  async #awaitTask(first: Answer, signal: AbortSignal | undefined): Promise<Answer> {
    const { clock, taskMs = TASK_MS, bmc } = this.#options;
    const untilMs = clock.monotonic() + taskMs;
    const monitor = first.headers.location ?? nextTextOf(first.json, 'TaskMonitor') ?? nextTextOf(first.json, '@odata.id');
    if (monitor === undefined) return { ...first, status: 200 }; // nothing to wait at: the effect is looked at anyway
    let answer = first;
    for (;;) {
      const askedS = Number(answer.headers['retry-after']);
      await sleep(clock, Math.min(Math.max(Number.isFinite(askedS) ? askedS * 1000 : 1000, 100), 30_000), signal);
      if (clock.monotonic() > untilMs) throw powerErrors.REDFISH_TASK({ bmc, why: `it did not end in ${taskMs / 1000} s` });
      answer = await this.#turn({ method: 'GET', path: this.#pathOf(monitor) }, signal);
      const state = String(answer.json.TaskState ?? '');
      if (FAILED.has(state)) throw powerErrors.REDFISH_TASK({ bmc, why: `${state}: ${refusalText(answer)}` });
      if (answer.status === 404) return { ...answer, status: 200 }; // done and forgotten
      if (answer.status !== 202 && !RUNNING.has(state)) return answer;
    }
  }

  /** Only the path counts, whatever host the service believes to be. */
  #pathOf(text: string): string {
    const { origin, bmc } = this.#options;
    const url = URL.canParse(text, origin) ? new URL(text, origin) : undefined;
    if (url?.protocol !== 'https:' || !url.pathname.startsWith('/'))
      throw powerErrors.REDFISH_BAD_ANSWER({ bmc, problem: `the address ${text}` });
    return url.pathname.replace(/^\/+/, '/') + url.search;
  }

  async #send(
    method: string,
    path: string,
    headers: Readonly<Record<string, string>>,
    body: object | undefined,
    signal: AbortSignal | undefined,
    limitMs = this.#options.timeoutMs ?? TIMEOUT_MS,
  ): Promise<Answer> {
    const { origin, bmc } = this.#options;
    let where = path;
    for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
      const response = await this.#transmit(method, `${origin}${where}`, headers, body, signal, limitMs);
      const { status, headers: answered } = response;
      if (status < 300 || status > 399 || status === 304) return { status, headers: answered, json: parsed(response, bmc) };
      const to = answered.location ?? '';
      if (method !== 'GET' || !URL.canParse(to, origin) || new URL(to, origin).origin !== new URL(origin).origin)
        throw powerErrors.REDFISH_BAD_ANSWER({ bmc, problem: `it sends ${method} ${path} on to ${to || 'nowhere'}` });
      where = this.#pathOf(to);
    }
    throw powerErrors.REDFISH_BAD_ANSWER({ bmc, problem: `it sends GET ${path} round in a circle` });
  }

  async #transmit(
    method: string,
    url: string,
    headers: Readonly<Record<string, string>>,
    body: object | undefined,
    signal: AbortSignal | undefined,
    timeoutMs: number,
  ): Promise<HttpClientResponse> {
    const { network, clock, bmc, ca, sha256 } = this.#options;
    const late = new AbortController();
    const timer = clock.after(timeoutMs, () => late.abort(new Error(`no answer in ${timeoutMs / 1000} s`)));
    const either = signal ? AbortSignal.any([late.signal, signal]) : late.signal;
    try {
      return await network.request({
        method,
        url,
        headers: {
          accept: 'application/json',
          'odata-version': '4.0',
          ...headers,
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(ca !== undefined && { ca }),
        certificate: sha256 === undefined ? {} : { sha256 },
        maxBodyBytes: MAX_BODY_BYTES,
        keepAlive: method === 'GET', // what changes something goes over a connection of its own: it must not be sent twice
        signal: either,
      });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (error instanceof CertificateRefused)
        throw powerErrors.REDFISH_CERTIFICATE({ bmc, why: error.reason, sha256: error.sha256 }, { cause: error });
      const why = late.signal.aborted
        ? String((late.signal.reason as Error).message)
        : error instanceof Error
          ? error.message
          : String(error);
      throw powerErrors.REDFISH_NO_ANSWER({ bmc, why }, { cause: error });
    } finally {
      timer.cancel();
    }
  }
}

const CLOSE_MS = 1500;

/** An answer without a body is an empty object; one that is no JSON is told only where it matters, since errors may be HTML. */
function parsed({ body, status }: HttpClientResponse, bmc: string): Json {
  const text = Buffer.from(body).toString('utf8');
  if (text.trim() === '') return {};
  try {
    return asObject(JSON.parse(text));
  } catch {
    if (status >= 400) return {};
    throw powerErrors.REDFISH_BAD_ANSWER({ bmc, problem: 'what it sent is no JSON' });
  }
}
