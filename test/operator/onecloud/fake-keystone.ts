/** Keystone's Identity API v3 as far as the operator uses it, in memory: refuses what Keystone refuses, counts what was written. */
import type { HttpHandler, HttpRequest, HttpResponse } from '../../../src/runtime/core/network.ts';

type Item = Record<string, unknown> & { readonly id: string };

interface Kind {
  readonly kind: string;
  /** Must be there when one is made. */
  readonly required: readonly string[];
  /** No two may agree in these. */
  readonly unique: readonly string[];
  /** Refers to another collection. */
  readonly refers?: Readonly<Record<string, string>>;
  readonly ownId?: true;
}

const KINDS: Readonly<Record<string, Kind>> = {
  users: { kind: 'user', required: ['name'], unique: ['name', 'domain_id'] },
  roles: { kind: 'role', required: ['name'], unique: ['name'] },
  regions: { kind: 'region', required: [], unique: ['id'], ownId: true },
  services: { kind: 'service', required: ['type'], unique: [] },
  endpoints: {
    kind: 'endpoint',
    required: ['service_id', 'interface', 'url'],
    unique: [],
    refers: { service_id: 'services', region_id: 'regions' },
  },
};

export class FakeKeystone {
  readonly collections = new Map<string, Item[]>(Object.keys(KINDS).map((name) => [name, []]));
  readonly assignments = new Set<string>();
  readonly requests: string[] = [];
  /** Asked first; an answer is the answer. */
  fault: ((request: HttpRequest) => HttpResponse | undefined) | undefined;
  readonly #tokens = new Map<string, string>();
  #ids = 0;

  constructor(adminPassword: string) {
    this.add('roles', { name: 'admin' });
    this.add('users', { name: 'sysadmin', domain_id: 'default', enabled: true, password: adminPassword });
    this.assignments.add(`p-system ${this.find('users', 'sysadmin')?.id} ${this.find('roles', 'admin')?.id}`);
  }

  get writes(): string[] {
    return this.requests.filter((request) => !/^(GET|HEAD)|\/auth\/tokens$/.test(request));
  }

  all(collection: string): Item[] {
    return this.collections.get(collection) ?? [];
  }

  find(collection: string, name: string): Item | undefined {
    return this.all(collection).find((item) => item.name === name);
  }

  add(collection: string, item: Record<string, unknown>): Item {
    const made = { ...item, id: typeof item.id === 'string' ? item.id : `${collection[0]}${++this.#ids}` };
    this.all(collection).push(made);
    return made;
  }

  readonly handler: HttpHandler = async (request) => {
    this.requests.push(`${request.method} ${request.path}`);
    return this.fault?.(request) ?? this.#answer(request);
  };

  #answer(request: HttpRequest): HttpResponse {
    const [version, collection = '', id, ...rest] = request.path.slice(1).split('/');
    if (version !== 'v3') return refuse(404, 'Could not find the version');
    const body = request.body.length === 0 ? {} : JSON.parse(Buffer.from(request.body).toString());
    if (collection === 'auth' && id === 'tokens' && request.method === 'POST') return this.#login(body);
    const user = this.#tokens.get(request.headers['x-auth-token'] ?? '');
    if (user === undefined) return refuse(401, 'The request you have made requires authentication.');
    if (collection === 'projects') return this.#assignment(request.method, id, rest);
    const kind = KINDS[collection];
    if (kind === undefined) return refuse(404, `Could not find ${collection}`);
    const known = this.all(collection);
    const item = known.find((one) => one.id === id);
    switch (request.method) {
      case 'GET': {
        if (id !== undefined) return item ? json(200, { [kind.kind]: shown(item) }) : refuse(404, `Could not find ${kind.kind}: ${id}.`);
        const filters = [...request.query];
        const items = known.filter((one) => filters.every(([name, value]) => one[name] === undefined || String(one[name]) === value));
        return json(200, { [collection]: items.map(shown), links: { next: null } });
      }
      case 'POST': {
        const wanted = body[kind.kind];
        if (typeof wanted !== 'object') return refuse(400, `Expecting to find ${kind.kind} in request body.`);
        const missing = kind.required.filter((name) => wanted[name] === undefined);
        if (missing.length > 0) return refuse(400, `'${missing[0]}' is a required property`);
        if (wanted.id !== undefined && !kind.ownId) return refuse(400, 'id is not allowed');
        for (const [field, other] of Object.entries(kind.refers ?? {}))
          if (wanted[field] !== undefined && !this.all(other).some((one) => one.id === wanted[field]))
            return refuse(400, `Could not find ${other}: ${wanted[field]}`);
        if (kind.unique.length > 0 && known.some((one) => kind.unique.every((name) => one[name] === wanted[name])))
          return refuse(409, `Conflict occurred attempting to store ${kind.kind} - Duplicate entry.`);
        return json(201, { [kind.kind]: shown(this.add(collection, wanted)) });
      }
      case 'PATCH': {
        if (item === undefined) return refuse(404, `Could not find ${kind.kind}: ${id}.`);
        Object.assign(item, body[kind.kind]);
        return json(200, { [kind.kind]: shown(item) });
      }
      default:
        return refuse(405, 'The method is not allowed for the requested URL.');
    }
  }

  #login({
    auth,
  }: {
    auth: {
      identity: { password: { user: { name: string; password: string; domain: { name: string } } } };
      scope: { project: { name: string; domain: { name: string } } };
    };
  }): HttpResponse {
    const { name, password, domain } = auth.identity.password.user;
    const user = this.find('users', name);
    const { project } = auth.scope;
    const right =
      user?.password === password &&
      user.enabled !== false &&
      domain.name === 'Default' &&
      project.name === 'system' &&
      project.domain.name === 'Default';
    // without any role in the project there is no token for it
    const assigned = [...this.assignments].some((one) => one.startsWith(`p-system ${user?.id} `));
    if (!right || !assigned) return refuse(401, 'The request you have made requires authentication.');
    const token = `token-${++this.#ids}`;
    this.#tokens.set(token, name);
    const content = {
      methods: ['password'],
      user: { name, id: user.id, domain: { id: 'default', name: 'Default' } },
      project: { id: 'p-system', name: 'system' },
    };
    return { ...json(201, { token: content }), headers: { 'content-type': 'application/json', 'x-subject-token': token } };
  }

  /** /projects/{project}/users/{user}/roles/{role} */
  #assignment(method: string, project: string | undefined, [users, user, roles, role]: string[]): HttpResponse {
    if (project !== 'p-system' || users !== 'users' || roles !== 'roles') return refuse(404, 'Could not find project');
    if (!this.all('users').some(({ id }) => id === user) || !this.all('roles').some(({ id }) => id === role))
      return refuse(404, 'Could not find user');
    const key = `${project} ${user} ${role}`;
    if (method === 'HEAD') return { status: this.assignments.has(key) ? 204 : 404 };
    if (method !== 'PUT') return refuse(405, 'The method is not allowed');
    this.assignments.add(key);
    return { status: 204 };
  }
}

function json(status: number, body: unknown): HttpResponse {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

function refuse(code: number, message: string): HttpResponse {
  return json(code, { error: { code, message, title: 'refused' } });
}

function shown({ password: _, ...item }: Item): unknown {
  return item;
}
