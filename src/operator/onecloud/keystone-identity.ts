/**
 * Accounts and catalog by Keystone's Identity API v3 (docs.openstack.org/api-ref/identity/v3). What is there is read once per login;
 * lists are filtered here too, since not every Keystone knows every filter.
 */
import type { Secret } from 'cdk8s-baremetal-contract';
import { asList, asObject, asText, type Fields } from 'cdk8s-baremetal-contract/loose';
import { type Clock, withDeadline } from 'cdk8s-baremetal-runtime/core/clock';
import type { HttpClientResponse, Network } from 'cdk8s-baremetal-runtime/core/network';
import type { Ensured } from './databases.ts';
import { operatorOnecloudErrors } from './errors.ts';
import type { Identity, IdentityServer, IdentitySession, ServiceAccount, ServiceEndpoints } from './identity.ts';

export interface KeystoneIdentityOptions {
  readonly network: Network;
  readonly clock: Clock;
  /** How long one request may take. Default 10,000. */
  readonly answerMs?: number;
}

export function keystoneIdentity(options: KeystoneIdentityOptions): Identity {
  const complete = { answerMs: 10_000, ...options };
  return {
    open: async (server, signal) => {
      const client = new Client(server, complete, signal);
      const login = await client.login({ user: server.user, password: server.password });
      if (login === undefined)
        throw operatorOnecloudErrors.ONECLOUD_IDENTITY_LOGIN({ url: server.url, user: server.user, secret: server.secret });
      return new KeystoneSession(client, login);
    },
  };
}

/** What a token says of whom it is for. */
interface Login {
  readonly token: string;
  readonly domain: string;
  readonly project: string;
}

class KeystoneSession implements IdentitySession {
  readonly #client: Client;
  readonly #login: Login;
  /** Collection → its members, as read in this session and written since. */
  readonly #known = new Map<string, Promise<Fields[]>>();

  constructor(client: Client, login: Login) {
    this.#client = client;
    this.#login = login;
  }

  async ensureAccount({ user, password, role }: ServiceAccount): Promise<Ensured> {
    const { domain, project } = this.#login;
    const query = `?name=${encodeURIComponent(user)}&domain_id=${encodeURIComponent(domain)}`;
    const isIt = (one: Fields): boolean => one.name === user && (one.domain_id === undefined || one.domain_id === domain);
    let account = (await this.#list('users', query)).find(isIt);
    const made = account === undefined;
    let changed = false;
    const what = `make the account ${user}`;
    if (account === undefined) {
      const wanted = { name: user, domain_id: domain, default_project_id: project, enabled: true, password: password.reveal() };
      account = asObject((await this.#send('POST', '/users', { user: wanted }, { what, secret: true })).user);
    }
    const path = `/projects/${encodeURIComponent(project)}/users/${this.#idOf(account)}/roles/${await this.#role(role)}`;
    if (!(await this.#client.has(path, this.#login.token))) {
      await this.#send('PUT', path, undefined, { what: `give ${user} the role ${role}` });
      changed = true;
    }
    if (!made && (await this.#client.login({ user, password })) === undefined) {
      const change = { password: password.reveal(), enabled: true };
      await this.#send('PATCH', `/users/${this.#idOf(account)}`, { user: change }, { what: `set the password of ${user}`, secret: true });
      changed = true;
    }
    return made ? 'made' : changed ? 'changed' : 'unchanged';
  }

  async ensureEndpoints({ service, type, region, urls }: ServiceEndpoints): Promise<Ensured> {
    let [made, changed] = [false, false];
    const make = async (collection: string, kind: string, object: Fields, what: string): Promise<Fields> => {
      const answer = asObject((await this.#send('POST', `/${collection}`, { [kind]: object }, { what }))[kind]);
      (await this.#list(collection)).push(answer);
      made = true;
      return answer;
    };
    if (!(await this.#list('regions')).some((one) => one.id === region))
      await make('regions', 'region', { id: region }, `make the region ${region}`);
    const known = (await this.#list('services')).find((one) => one.type === type && one.name === service);
    const owner = known ?? (await make('services', 'service', { name: service, type, enabled: true }, `register the service ${service}`));
    for (const [face, url] of Object.entries(urls)) {
      const what = `register the ${face} endpoint of ${service}`;
      const found = (await this.#list('endpoints')).find(
        (one) => one.service_id === this.#idOf(owner) && one.interface === face && (one.region_id ?? one.region) === region,
      );
      if (found === undefined) {
        await make(
          'endpoints',
          'endpoint',
          { service_id: this.#idOf(owner), interface: face, region_id: region, url, enabled: true },
          what,
        );
      } else if (found.url !== url || found.enabled === false) {
        const answer = await this.#send('PATCH', `/endpoints/${this.#idOf(found)}`, { endpoint: { url, enabled: true } }, { what });
        Object.assign(found, asObject(answer.endpoint));
        changed = true;
      }
    }
    return made ? 'made' : changed ? 'changed' : 'unchanged';
  }

  async withdrawEndpoints({ service, type, region, urls }: ServiceEndpoints): Promise<Ensured> {
    let changed = false;
    const owner = (await this.#list('services')).find((one) => one.type === type && one.name === service);
    if (owner === undefined) return 'unchanged';
    for (const found of await this.#list('endpoints')) {
      const ours = Object.entries(urls).some(([face, url]) => found.interface === face && found.url === url);
      if (!ours || found.service_id !== this.#idOf(owner) || (found.region_id ?? found.region) !== region || found.enabled === false)
        continue;
      const what = `withdraw the ${asText(found.interface)} endpoint of ${service}`;
      const answer = await this.#send('PATCH', `/endpoints/${this.#idOf(found)}`, { endpoint: { enabled: false } }, { what });
      Object.assign(found, asObject(answer.endpoint));
      changed = true;
    }
    return changed ? 'changed' : 'unchanged';
  }

  async #role(name: string): Promise<string> {
    const role = (await this.#list('roles', `?name=${encodeURIComponent(name)}`)).find((one) => one.name === name);
    if (role === undefined) throw this.#client.refused(`find the role ${name}`, 'there is none');
    return this.#idOf(role);
  }

  #idOf(object: Fields): string {
    const id = asText(object.id);
    if (id === undefined || id === '') throw this.#client.refused('tell an id', 'there is none in its answer');
    return encodeURIComponent(id);
  }

  #list(collection: string, query = ''): Promise<Fields[]> {
    const path = `/${collection}${query}`;
    const known = this.#known.get(path) ?? this.#gather(collection, path);
    this.#known.set(path, known);
    return known;
  }

  async #gather(collection: string, path: string): Promise<Fields[]> {
    const what = `list ${collection}`;
    const answer = await this.#send('GET', path, undefined, { what });
    // what is not seen would be made a second time
    if (answer.truncated === true) throw this.#client.refused(what, 'it is cut off (list_limit in its configuration)');
    return asList(answer[collection]).map((one) => ({ ...asObject(one) }));
  }

  #send(method: string, path: string, body: unknown, about: About): Promise<Fields> {
    return this.#client.send(method, path, { body, token: this.#login.token, ...about });
  }
}

interface About {
  /** Completes "refuses to …". */
  readonly what: string;
  /** The answer may quote what was sent: it is withheld. */
  readonly secret?: boolean;
}

class Client {
  readonly #server: IdentityServer;
  readonly #options: Required<KeystoneIdentityOptions>;
  readonly #signal: AbortSignal;

  constructor(server: IdentityServer, options: Required<KeystoneIdentityOptions>, signal: AbortSignal) {
    this.#server = server;
    this.#options = options;
    this.#signal = signal;
  }

  /** Undefined: the password is not right. */
  async login({ user, password }: { readonly user: string; readonly password: Secret }): Promise<Login | undefined> {
    const { domain, project } = this.#server;
    const auth = {
      identity: { methods: ['password'], password: { user: { name: user, domain: { name: domain }, password: password.reveal() } } },
      scope: { project: { name: project, domain: { name: domain } } },
    };
    const answer = await this.#exchange('POST', '/auth/tokens', { body: { auth } });
    if (answer.status === 401) return undefined;
    const what = `log ${user} in`;
    const { token } = this.#read(answer, { what, secret: true });
    const text = answer.headers['x-subject-token'];
    const [ofUser, ofProject] = [asObject(asObject(asObject(token).user).domain), asObject(asObject(token).project)];
    const [domainId, projectId] = [asText(ofUser.id), asText(ofProject.id)];
    if (text === undefined || domainId === undefined || projectId === undefined) throw this.refused(what, 'its answer carries no token');
    return { token: text, domain: domainId, project: projectId };
  }

  /** HEAD: 204 or 404. */
  async has(path: string, token: string): Promise<boolean> {
    const answer = await this.#exchange('HEAD', path, { token });
    if (answer.status === 404) return false;
    this.#read(answer, { what: `answer for ${path}` });
    return true;
  }

  async send(
    method: string,
    path: string,
    { body, token, ...about }: About & { readonly body: unknown; readonly token: string },
  ): Promise<Fields> {
    return this.#read(await this.#exchange(method, path, { body, token }), about);
  }

  refused(what: string, reason: string): Error {
    return operatorOnecloudErrors.ONECLOUD_IDENTITY_REFUSED({ url: this.#server.url, what, reason });
  }

  async #exchange(method: string, path: string, { body, token }: { body?: unknown; token?: string }): Promise<HttpClientResponse> {
    const { network, clock, answerMs } = this.#options;
    const { url, ca } = this.#server;
    const headers = {
      accept: 'application/json',
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(token !== undefined && { 'x-auth-token': token }),
    };
    const request = {
      method,
      url: `${url}${path}`,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(ca !== '' && { ca }),
    };
    const late = (): Error => new Error(`no answer within ${answerMs / 1000} s`);
    try {
      return await withDeadline(clock, answerMs, late, (signal) => network.request({ ...request, signal }), this.#signal);
    } catch (error) {
      this.#signal.throwIfAborted();
      throw operatorOnecloudErrors.ONECLOUD_IDENTITY_UNREACHABLE({ url, reason: wordsOf(error) }, { cause: error });
    }
  }

  #read({ status, body }: HttpClientResponse, { what, secret = false }: About): Fields {
    const text = Buffer.from(body).toString();
    let json: unknown;
    try {
      json = text === '' ? {} : JSON.parse(text);
    } catch {
      json = undefined;
    }
    if (status < 200 || status > 299) {
      const message = secret ? undefined : asText(asObject(asObject(json).error).message);
      throw this.refused(what, `HTTP ${status}${message === undefined ? '' : `: ${message.slice(0, 300)}`}`);
    }
    if (json === undefined) throw this.refused(what, `HTTP ${status} with something that is no JSON`);
    return asObject(json);
  }
}

/** `fetch failed` says nothing; its cause does. */
function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const inner = error.cause instanceof Error ? wordsOf(error.cause) : '';
  const { code } = error as { readonly code?: unknown };
  return inner !== '' ? inner : error.message !== '' ? error.message : typeof code === 'string' ? code : error.name;
}
