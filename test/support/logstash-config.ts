/** Reads the part of logstash's configuration language that our pipelines are written in: plugins, settings, `if "x" in [field]`. */

export interface Plugin {
  readonly kind: 'plugin';
  readonly name: string;
  readonly settings: Readonly<Record<string, Setting>>;
}
export type Setting = string | number | boolean | readonly Setting[] | { readonly [key: string]: Setting };

export interface Branch {
  readonly kind: 'branch';
  /** In order; an absent condition is `else`. */
  readonly cases: readonly {
    readonly condition: { readonly value: string; readonly field: string } | undefined;
    readonly body: readonly Statement[];
  }[];
}
export type Statement = Plugin | Branch;

export type Pipeline = Readonly<Record<'input' | 'filter' | 'output', readonly Statement[]>>;

const TOKEN = /\s*(?:#[^\n]*\n\s*)*("[^"]*"|=>|[{}[\],]|[\w@.:-]+)/y;

export function parsePipeline(text: string): Pipeline {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  const end = text.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const at = TOKEN.lastIndex;
    const token = TOKEN.exec(text)?.[1];
    if (token === undefined) throw new Error(`not understood: ${text.slice(at, at + 40)}`);
    tokens.push(token);
  }
  const take = (expected?: string): string => {
    const token = tokens.shift();
    if (token === undefined || (expected !== undefined && token !== expected))
      throw new Error(`${expected ?? 'more'} expected, not ${token}`);
    return token;
  };
  const value = (): Setting => {
    const token = take();
    if (token.startsWith('"')) return token.slice(1, -1);
    if (token === '[') {
      const items: Setting[] = [];
      while (tokens[0] !== ']') {
        items.push(value());
        if (tokens[0] === ',') take();
      }
      take(']');
      return items;
    }
    if (token === '{') return settings();
    if (/^\d+$/.test(token)) return Number(token);
    if (token === 'true' || token === 'false') return token === 'true';
    if (tokens[0] === '{') {
      take('{'); // a codec with its settings
      return { [token]: settings() };
    }
    return token;
  };
  const settings = (): Record<string, Setting> => {
    const found: Record<string, Setting> = {};
    while (tokens[0] !== '}') {
      const key = take().replaceAll('"', '');
      take('=>');
      found[key] = value();
    }
    take('}');
    return found;
  };
  const block = (): Statement[] => {
    take('{');
    const body: Statement[] = [];
    while (tokens[0] !== '}') body.push(statement());
    take('}');
    return body;
  };
  const statement = (): Statement => {
    const name = take();
    if (name !== 'if') {
      take('{');
      return { kind: 'plugin', name, settings: settings() };
    }
    const condition = () => {
      const wanted = take().replaceAll('"', '');
      take('in');
      take('[');
      const field = take();
      take(']');
      return { value: wanted, field };
    };
    const cases: { condition: ReturnType<typeof condition> | undefined; body: Statement[] }[] = [{ condition: condition(), body: block() }];
    const next = (): string | undefined => tokens[0];
    while (next() === 'else') {
      take();
      if (next() === 'if') {
        take();
        cases.push({ condition: condition(), body: block() });
      } else cases.push({ condition: undefined, body: block() });
    }
    return { kind: 'branch', cases };
  };
  const pipeline: Record<string, Statement[]> = { input: [], filter: [], output: [] };
  while (tokens.length > 0) {
    const section = take();
    if (!(section in pipeline)) throw new Error(`no section ${section}`);
    pipeline[section] = block();
  }
  return pipeline as unknown as Pipeline;
}

/** The plugins that an event meets in a section. */
export function pluginsFor(statements: readonly Statement[], event: Readonly<Record<string, unknown>>): Plugin[] {
  return statements.flatMap((statement) => {
    if (statement.kind === 'plugin') return [statement];
    const met = statement.cases.find(({ condition }) => {
      if (!condition) return true;
      const field = event[condition.field];
      return Array.isArray(field) && field.includes(condition.value);
    });
    return met ? pluginsFor(met.body, event) : [];
  });
}
