/** Who may talk to a simulated Redfish service: its users, their sessions by token (DSP0266, "Session login"), and basic authentication. */
import type { Clock, HttpRequest, Random } from 'cdk8s-baremetal-runtime/core/index';

export interface RedfishUser {
  readonly name: string;
  readonly password: string;
  /** DSP0266, predefined roles. */
  readonly role: 'Administrator' | 'Operator' | 'ReadOnly';
}

interface Session {
  readonly token: string;
  readonly user: RedfishUser;
  usedAtMs: number;
}

const MOST_SESSIONS = 16;

export class RedfishAccounts {
  /** By whether they worked. */
  readonly logIns = { good: 0, bad: 0 };
  readonly #sessions = new Map<string, Session>();
  #numbers = 0;

  constructor(
    private readonly options: {
      readonly clock: Clock;
      readonly random: Random;
      readonly users: readonly RedfishUser[];
      readonly timeoutMs: number;
    },
  ) {}

  get sessionIds(): readonly string[] {
    return [...this.#sessions.keys()];
  }

  logIn(name: unknown, password: unknown): { id: string; token: string; user: RedfishUser } | 'wrong' | 'full' {
    const user = this.#counted(this.options.users.find((one) => one.name === name && one.password === password));
    if (!user) return 'wrong';
    if (this.#sessions.size >= MOST_SESSIONS) return 'full';
    const id = String(++this.#numbers);
    const token = Buffer.from(this.options.random.bytes(16)).toString('hex');
    this.#sessions.set(id, { token, user, usedAtMs: this.options.clock.monotonic() });
    return { id, token, user };
  }

  /** Of a request's token, which is then used; or of its basic authentication, which counts as a log-in. */
  userOf({ headers }: HttpRequest): RedfishUser | undefined {
    const nowMs = this.options.clock.monotonic();
    const [id, session] = [...this.#sessions].find(([, { token }]) => token === headers['x-auth-token']) ?? [];
    if (session && nowMs - session.usedAtMs <= this.options.timeoutMs) {
      session.usedAtMs = nowMs;
      return session.user;
    }
    if (id !== undefined) this.#sessions.delete(id);
    const basic = /^Basic (.+)$/.exec(headers.authorization ?? '')?.[1];
    if (basic === undefined) return undefined;
    return this.#counted(this.options.users.find(({ name, password }) => Buffer.from(`${name}:${password}`).toString('base64') === basic));
  }

  /** False: there is no such session. */
  end(id: string): boolean {
    return this.#sessions.delete(id);
  }

  endAll(): void {
    this.#sessions.clear();
  }

  #counted(user: RedfishUser | undefined): RedfishUser | undefined {
    this.logIns[user ? 'good' : 'bad'] += 1;
    return user;
  }
}
