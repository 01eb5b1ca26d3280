/**
 * What filebeat does, as far as a test of our log path needs it; for tests only, and no replacement: it reads when it is told to,
 * keeps its registry in memory, and pushes one event after another. It takes a filebeat.yml as it is and refuses options that it
 * does not know (test/support/filebeat-options.ts). Events have filebeat's fields, in its JSON.
 */
import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parse } from 'yaml';
import { filebeatProblems } from './filebeat-options.ts';
import type { RedisClient } from './redis-server.ts';

interface Input {
  readonly id: string;
  readonly paths: readonly string[];
  readonly tags?: readonly string[];
  readonly parsers?: readonly { readonly multiline: Multiline }[];
  readonly 'file_identity.path'?: null;
}

interface Multiline {
  readonly pattern: string;
  readonly negate?: boolean;
  readonly match: 'after' | 'before';
}

interface FileState {
  offset: number;
  /** An event that may go on in the next line. */
  open: { lines: string[]; offset: number } | undefined;
}

export interface TailerOptions {
  /** Text of filebeat.yml. */
  readonly config: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** A path of the config → where the test has it. */
  readonly locate: (path: string) => string;
  readonly connect: (host: string, port: number, password: string | undefined) => Promise<RedisClient>;
}

export class Tailer {
  private readonly files = new Map<string, FileState>();
  private readonly inputs: readonly Input[];
  private readonly redis: { readonly hosts: readonly string[]; readonly key: string; readonly password?: string };

  constructor(private readonly options: TailerOptions) {
    const problems = filebeatProblems(options.config);
    if (problems.length > 0) throw new Error(`filebeat would refuse or ignore: ${problems.join('; ')}`);
    const config = expanded(parse(options.config), options.environment) as Record<string, unknown>;
    this.inputs = config['filebeat.inputs'] as Input[];
    this.redis = config['output.redis'] as Tailer['redis'];
  }

  /** Reads what every file has gained and pushes the events that are complete. With `flush`, the open ones too: the multiline time-out. */
  async scan(flush = false): Promise<number> {
    const events = this.inputs.flatMap((input) => this.filesOf(input).flatMap((file) => this.read(input, file, flush)));
    if (events.length === 0) return 0;
    const [address = ''] = this.redis.hosts;
    const colon = address.lastIndexOf(':');
    const client = await this.options.connect(address.slice(0, colon), Number(address.slice(colon + 1)), this.redis.password);
    try {
      for (const event of events) await client.call('RPUSH', this.redis.key, JSON.stringify(event));
    } finally {
      client.close();
    }
    return events.length;
  }

  private filesOf({ paths }: Input): { shown: string; real: string }[] {
    return paths.flatMap((pattern) => {
      const directory = dirname(pattern);
      const name = new RegExp(`^${basename(pattern).replaceAll('.', '\\.').replaceAll('*', '[^/]*')}$`);
      const real = this.options.locate(directory);
      return readdirSync(real)
        .filter((file) => name.test(file))
        .sort()
        .map((file) => ({ shown: join(directory, file), real: join(real, file) }));
    });
  }

  private read(input: Input, { shown, real }: { shown: string; real: string }, flush: boolean): object[] {
    const stats = statSync(real);
    const identity = 'file_identity.path' in input ? `path:${shown}` : `native:${stats.ino}-${stats.dev}`;
    const key = `${input.id}::${identity}`;
    const state = this.files.get(key) ?? { offset: 0, open: undefined };
    this.files.set(key, state);
    if (stats.size < state.offset) state.offset = 0; // truncated
    const buffer = Buffer.alloc(stats.size - state.offset);
    const fd = openSync(real, 'r');
    try {
      readSync(fd, buffer, 0, buffer.length, state.offset);
    } finally {
      closeSync(fd);
    }
    const events: object[] = [];
    const end = (): void => {
      if (state.open) events.push(eventOf(input, shown, state.open));
      state.open = undefined;
    };
    const multiline = input.parsers?.[0]?.multiline;
    // a line without its newline is not one yet
    for (let at = 0, newline = buffer.indexOf(10); newline >= 0; at = newline + 1, newline = buffer.indexOf(10, at)) {
      const line = buffer.subarray(at, newline).toString('utf8').replace(/\r$/, '');
      const offset = state.offset;
      state.offset += newline + 1 - at;
      if (multiline && continues(multiline, line) && state.open) state.open.lines.push(line);
      else {
        end();
        state.open = { lines: [line], offset };
      }
      if (!multiline) end();
    }
    if (flush) end();
    return events;
  }
}

/** With match after: a line that (negate: does not) match belongs to the one before. */
function continues({ pattern, negate = false, match }: Multiline, line: string): boolean {
  if (match !== 'after') throw new Error('only match: after');
  return new RegExp(pattern).test(line) !== negate;
}

function eventOf({ tags }: Input, path: string, { lines, offset }: { lines: string[]; offset: number }): object {
  return {
    '@timestamp': new Date().toISOString(),
    '@metadata': { beat: 'filebeat', type: '_doc', version: '9.2.1' },
    log: { offset, file: { path }, ...(lines.length > 1 && { flags: ['multiline'] }) },
    message: lines.join('\n'),
    tags: tags ?? [],
    input: { type: 'filestream' },
    ecs: { version: '8.0.0' },
    host: { name: hostname() },
    agent: { type: 'filebeat', version: '9.2.1', name: hostname() },
  };
}

/** Variables in every text of a configuration, as go-ucfg has them: what comes out of an expansion is parsed, and only quotes keep it a text. */
function expanded(value: unknown, environment: TailerOptions['environment']): unknown {
  if (Array.isArray(value)) return value.map((one) => expanded(one, environment));
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, expanded(one, environment)]));
  if (typeof value !== 'string' || !value.includes('${')) return value;
  const text = value.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
    const found = environment[name];
    if (found === undefined) throw new Error(`missing environment variable ${name}`);
    return found;
  });
  if (text.startsWith("'")) {
    if (text.indexOf("'", 1) !== text.length - 1) throw new Error("expected ','");
    return text.slice(1, -1);
  }
  const bare = text.trim();
  if (bare.includes(',')) return bare.split(',');
  if (/^[[{"]/.test(bare)) throw new Error('a list, an object or a quoted text was expected');
  return /^0[0-7]+$/.test(bare) ? Number.parseInt(bare, 8) : Number.isNaN(Number(bare)) ? bare : Number(bare);
}
