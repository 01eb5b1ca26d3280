/**
 * The part of Jinja that service definitions are given in: `{{ name }}`, with `default(literal)`, `default(name)` and `bool`.
 * Everything else is refused by name; a wrong guess would start a container with it.
 */
import { type CodedError, nearest } from 'cdk8s-baremetal-contract';
import { kollaErrors } from './errors.ts';

const PLACE = /\{\{(.*?)\}\}/gs;
const FILTER = /^(?:bool|(?:default|d)\((?<argument>.*?)(?<falsy>,\s*(?:boolean\s*=\s*)?[Tt]rue\s*)?\))$/s;
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** What Ansible's `bool` takes for true. */
const TRUE = new Set<unknown>([true, 1, '1', 'true', 'yes', 'on', 'y', 't', '1.0']);

export class Variables {
  private readonly path: string[] = [];

  /** `values` may hold templates themselves. Problems are collected in `problems`; what cannot be known is undefined. */
  constructor(
    private readonly values: ReadonlyMap<string, unknown>,
    readonly problems: CodedError[],
  ) {}

  /** `value` with every template in it resolved. A text that is one expression takes on its value, whatever its type. */
  resolve(value: unknown, at: string): unknown {
    if (typeof value === 'string') return this.resolveText(value, at);
    if (Array.isArray(value)) return value.map((item, index) => this.resolve(item, `${at}[${index}]`));
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.resolve(item, `${at}.${key}`)]));
    return value;
  }

  private resolveText(text: string, at: string): unknown {
    if (text.includes('{%') || text.includes('{#')) {
      this.problems.push(kollaErrors.KOLLA_EXPRESSION({ at, expression: text }));
      return undefined;
    }
    const [only] = text.matchAll(PLACE);
    if (only && only[0] === text.trim()) return this.evaluate(only[1] ?? '', at);
    let known = true;
    const resolved = text.replaceAll(PLACE, (_, expression: string) => {
      const value = this.evaluate(expression, at);
      known &&= value !== undefined;
      return typeof value === 'object' ? JSON.stringify(value) : String(value);
    });
    return known ? resolved : undefined;
  }

  private evaluate(expression: string, at: string): unknown {
    const [head = '', ...filters] = splitFilters(expression);
    const refuse = (): undefined => {
      this.problems.push(kollaErrors.KOLLA_EXPRESSION({ at, expression: expression.trim() }));
      return undefined;
    };
    const literal = literalOf(head);
    if (!literal && !NAME.test(head)) return refuse();
    const parsed = filters.map((filter) => FILTER.exec(filter));
    if (parsed.includes(null)) return refuse();
    const isDefaulted = parsed.some((filter) => filter?.groups?.argument !== undefined);
    let value = literal ? literal.value : this.variable(head, at, isDefaulted);
    for (const filter of parsed) {
      const { argument, falsy } = filter?.groups ?? {};
      if (argument === undefined)
        value = value === undefined ? undefined : TRUE.has(typeof value === 'string' ? value.toLowerCase() : value);
      else {
        const word = argument.trim();
        const given = literalOf(word);
        if (!given && !NAME.test(word)) return refuse();
        if (value === undefined || (falsy !== undefined && !value)) value = given ? given.value : this.variable(word, at, false);
      }
    }
    return value;
  }

  private variable(name: string, at: string, mayMiss: boolean): unknown {
    if (!this.values.has(name)) {
      if (!mayMiss)
        this.problems.push(kollaErrors.KOLLA_VARIABLE_UNKNOWN({ at, variable: name, nearest: nearest(name, this.values.keys()) }));
      return undefined;
    }
    if (this.path.includes(name)) {
      this.problems.push(kollaErrors.KOLLA_VARIABLE_CYCLE({ variables: [...this.path, name] }));
      return undefined;
    }
    this.path.push(name);
    try {
      return this.resolve(this.values.get(name), name === at ? at : `${at} (${name})`);
    } finally {
      this.path.pop();
    }
  }
}

/** At the bars that stand outside of quotes. */
function splitFilters(expression: string): string[] {
  const parts = expression.match(/(?:'[^']*'|"[^"]*"|[^|'"])+/g) ?? [];
  return parts.map((part) => part.trim());
}

function literalOf(word: string): { readonly value: unknown } | undefined {
  const quoted = /^(?:'([^'\\]*)'|"([^"\\]*)")$/.exec(word);
  if (quoted) return { value: quoted[1] ?? quoted[2] ?? '' };
  if (/^-?\d+(?:\.\d+)?$/.test(word)) return { value: Number(word) };
  if (/^[Tt]rue$/.test(word)) return { value: true };
  if (/^[Ff]alse$/.test(word)) return { value: false };
  if (word === '[]') return { value: [] };
  if (word === '{}') return { value: {} };
  // Ansible's word for "as if this key were not there"
  if (word === 'omit') return { value: '' };
  return undefined;
}
