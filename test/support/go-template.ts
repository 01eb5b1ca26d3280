/**
 * Renders helm templates in tests where helm itself is not there: the subset that our chart uses, and everything else is an error.
 * Knows `{{- define "x" -}} … {{ end }}`, field references, string literals, parentheses, pipes, and the functions quote, toJson,
 * printf (%s and %%), sha256sum, splitList, first and include. A missing value is an error, where helm would print nothing.
 */
import { createHash } from 'node:crypto';

export interface TemplateData {
  readonly Values: unknown;
  readonly Release: { readonly Name: string };
}

const ACTION = /\{\{(-?)\s+(.*?)\s+(-?)\}\}/gs;
const TOKEN = /\s*("(?:[^"\\]|\\.)*"|\.[A-Za-z][\w.]*|\.|[A-Za-z][A-Za-z0-9]*|[()|])/y;

type Value = unknown;

export function renderTemplate(text: string, data: TemplateData): string {
  const templates = new Map<string, string>();
  const main = trimmed(text).replaceAll(/\{\{ define "([^"]+)" \}\}(.*?)\{\{ end \}\}/gs, (_, name: string, body: string) => {
    templates.set(name, body);
    return '';
  });
  const render = (body: string): string =>
    body.replaceAll(/\{\{ (.*?) \}\}/gs, (_, action: string) => {
      const parser = new Parser(action, data, (name) => {
        const template = templates.get(name);
        if (template === undefined) throw new Error(`no template "${name}"`);
        return render(template);
      });
      return show(parser.pipeline(true));
    });
  return render(main);
}

/** Minus signs at an action take the white space beside it away. */
function trimmed(text: string): string {
  const left = text.replaceAll(/\s*\{\{- /g, '{{ ').replaceAll(/ -\}\}\s*/g, ' }}');
  for (const [action] of left.matchAll(/\{\{[^}]*\}\}/g))
    if (!/^\{\{ \S.*\S \}\}$/s.test(action)) throw new Error(`unknown action ${action}`);
  if (text.replaceAll(ACTION, '').includes('{{')) throw new Error('an action that is not closed');
  return left;
}

class Parser {
  private readonly tokens: string[] = [];

  constructor(
    private readonly action: string,
    private readonly data: TemplateData,
    private readonly include: (name: string) => string,
  ) {
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < action.length) {
      const at = TOKEN.lastIndex;
      const match = TOKEN.exec(action);
      if (!match?.[1]) throw new Error(`"${action.slice(at)}" is beyond the subset`);
      this.tokens.push(match[1]);
    }
  }

  pipeline(isWhole = false): Value {
    let value = this.command([]);
    while (this.tokens[0] === '|') {
      this.tokens.shift();
      value = this.command([value]);
    }
    if (isWhole && this.tokens.length > 0) throw new Error(`"${this.tokens.join(' ')}" is too much in ${this.action}`);
    return value;
  }

  /** A function with its arguments, the piped value last; or one operand. */
  private command(piped: readonly Value[]): Value {
    const head = this.tokens[0] ?? '';
    if (!/^[A-Za-z][A-Za-z0-9]*$/.test(head)) {
      if (piped.length > 0) throw new Error(`${head} takes no value in ${this.action}`);
      return this.operand();
    }
    this.tokens.shift();
    const args: Value[] = [];
    while (this.tokens[0] !== undefined && this.tokens[0] !== '|' && this.tokens[0] !== ')') args.push(this.operand());
    return this.call(head, [...args, ...piped]);
  }

  private operand(): Value {
    const token = this.tokens.shift() ?? '';
    if (token.startsWith('"')) return JSON.parse(token);
    if (token === '(') {
      const value = this.pipeline();
      if (this.tokens.shift() !== ')') throw new Error(`a parenthesis is open in ${this.action}`);
      return value;
    }
    if (token === '.') return this.data;
    if (!token.startsWith('.')) throw new Error(`"${token}" is no operand in ${this.action}`);
    const value = token
      .slice(1)
      .split('.')
      .reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], this.data);
    if (value === undefined || value === null) throw new Error(`${token} has no value`);
    return value;
  }

  private call(name: string, args: readonly Value[]): Value {
    const [first, second] = args;
    switch (name) {
      case 'quote':
        return args.map((value) => JSON.stringify(text(value))).join(' ');
      case 'toJson':
        return JSON.stringify(first);
      case 'printf': {
        const rest = args.slice(1);
        const result = text(first).replaceAll(/%(.)/g, (_, verb: string) => {
          if (verb === '%') return '%';
          if (verb !== 's' || rest.length === 0) throw new Error(`%${verb} in ${this.action}`);
          return text(rest.shift());
        });
        if (rest.length > 0) throw new Error(`too many arguments in ${this.action}`);
        return result;
      }
      case 'sha256sum':
        return createHash('sha256').update(text(first)).digest('hex');
      case 'splitList':
        return text(second).split(text(first));
      case 'first':
        if (!Array.isArray(first)) throw new Error(`first of no list in ${this.action}`);
        return first[0];
      case 'include':
        if (second !== this.data) throw new Error(`include takes "." in ${this.action}`);
        return this.include(text(first));
      default:
        throw new Error(`the function ${name} is beyond the subset`);
    }
  }
}

function text(value: Value): string {
  if (typeof value !== 'string') throw new Error(`${JSON.stringify(value)} is no text`);
  return value;
}

function show(value: Value): string {
  return text(value);
}
