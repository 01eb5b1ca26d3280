/** The values.yaml of the original's helm chart, and what ours adds to it, as the props of a service. */
import { type CodedError, type ImageSpec, nearest } from 'cdk8s-baremetal-contract';
import { isMap, LineCounter, parseDocument } from 'yaml';
import type { EnvironmentServiceProps } from './environment-service.ts';
import { environmentErrors } from './errors.ts';
import { DEFAULT_REDIS } from './filebeat.ts';

type Kind = 'text' | 'texts';

interface Value {
  readonly kind: Kind;
  readonly optional?: boolean;
  /** As a JSON schema, for helm. */
  readonly schema?: Readonly<Record<string, unknown>>;
}

const WORD = { pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$' };
const OBJECT_NAME = { pattern: '^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$' };

/** Every key, by its dotted path. Those of the original are required, but for nfs, which it does not use. */
export const VALUES: Readonly<Record<string, Value>> = {
  'containers.name': { kind: 'text', schema: OBJECT_NAME },
  'containers.image': { kind: 'text' },
  'configmap.proc': { kind: 'text', schema: WORD },
  'configmap.project': { kind: 'text', schema: WORD },
  'nfs.server': { kind: 'text', optional: true },
  'nfs.mdir': { kind: 'text', optional: true },
  'filebeat.image': { kind: 'text' },
  'filebeat.tags': { kind: 'text', schema: { pattern: '^[\\w.:-]+$' } },
  'git.project': { kind: 'text', schema: { pattern: '^(https|http|ssh)://[^?#]+$' } },
  'git.revision': { kind: 'text', schema: { pattern: '^([0-9a-f]{40}|[0-9a-f]{64})$' } },
  'git.credentialsSecret': { kind: 'text', optional: true },
  'redis.hosts': { kind: 'texts', optional: true },
  'redis.key': { kind: 'text', optional: true },
  'redis.passwordSecret': { kind: 'text', optional: true },
  'launch.image': { kind: 'text', optional: true },
  runenv: { kind: 'text' },
};

export interface ValuesProblem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  readonly error: CodedError;
}

/** Everything that is wrong with a values.yaml; `message` prints one problem a line, as `file:line:column: CODE: …`. */
export class ValuesError extends Error {
  constructor(readonly problems: readonly ValuesProblem[]) {
    super(problems.map(({ file, line, column, error }) => `${file}:${line}:${column}: ${error}`).join('\n'));
    this.name = 'ValuesError';
  }
}

/** @throws ValuesError with all problems; `file` is for messages */
export function parseValues(text: string, file: string): Omit<EnvironmentServiceProps, 'release'> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const problems: ValuesProblem[] = [];
  const report = (offset: number, error: CodedError): void => {
    const { line, col } = lines.linePos(offset);
    problems.push({ file, line: Math.max(line, 1), column: Math.max(col, 1), error });
  };
  for (const { message, pos } of document.errors) report(pos[0], environmentErrors.VALUES_SYNTAX({ reason: message }));
  if (problems.length > 0) throw new ValuesError(problems);
  const values = new Map<string, unknown>();
  const visit = (node: unknown, prefix: string): void => {
    if (!isMap(node)) return;
    for (const { key, value } of node.items) {
      const { value: name, range } = key as { value: unknown; range?: readonly number[] };
      const path = prefix === '' ? String(name) : `${prefix}.${String(name)}`;
      const offset = range?.[0] ?? 0;
      if (isSection(path) && isMap(value)) visit(value, path);
      else if (isSection(path)) report(offset, environmentErrors.VALUES_KIND({ key: path, expected: 'a mapping' }));
      else if (path in VALUES) readValue(path, (value as { toJSON?: () => unknown } | null)?.toJSON?.() ?? null, offset, values, report);
      else report(offset, environmentErrors.VALUES_KEY(unknownKey(path)));
    }
  };
  visit(document.contents, '');
  for (const [key, { optional }] of Object.entries(VALUES)) {
    const told = problems.some(({ error }) => error.message.includes(`"${key}"`));
    if (!optional && !values.has(key) && !told) report(0, environmentErrors.VALUES_MISSING({ key }));
  }
  if (problems.length > 0) throw new ValuesError(problems);
  return propsOf(values);
}

function readValue(
  path: string,
  value: unknown,
  offset: number,
  values: Map<string, unknown>,
  report: (offset: number, error: CodedError) => void,
): void {
  const kind = VALUES[path]?.kind;
  const good =
    kind === 'text' ? typeof value === 'string' && value !== '' : Array.isArray(value) && value.every((item) => typeof item === 'string');
  if (!good) report(offset, environmentErrors.VALUES_KIND({ key: path, expected: kind === 'text' ? 'a text' : 'a list of texts' }));
  else if (path.endsWith('.image') && parseImage(String(value)) === undefined)
    report(offset, environmentErrors.VALUES_KIND({ key: path, expected: 'an image with a tag or a digest' }));
  else values.set(path, value);
}

function propsOf(values: ReadonlyMap<string, unknown>): Omit<EnvironmentServiceProps, 'release'> {
  const text = (key: string): string => String(values.get(key));
  const maybe = (key: string): string | undefined => (values.has(key) ? text(key) : undefined);
  // the original's chart pulls what is absent
  const image = (key: string): ImageSpec => ({ ...parseImage(text(key)), pullPolicy: 'IfNotPresent' }) as ImageSpec;
  const credentialsSecret = maybe('git.credentialsSecret');
  const passwordSecret = maybe('redis.passwordSecret');
  return {
    containerName: text('containers.name'),
    image: image('containers.image'),
    proc: text('configmap.proc'),
    git: {
      project: text('git.project'),
      revision: text('git.revision'),
      directory: text('configmap.project'),
      ...(credentialsSecret !== undefined && { credentialsSecret }),
    },
    runenv: text('runenv'),
    filebeat: {
      image: image('filebeat.image'),
      tags: [text('filebeat.tags')],
      redis: {
        hosts: (values.get('redis.hosts') as string[] | undefined) ?? DEFAULT_REDIS.hosts,
        key: maybe('redis.key') ?? DEFAULT_REDIS.key,
        ...(passwordSecret !== undefined && { passwordSecret }),
      },
    },
    ...(values.has('nfs.server') && values.has('nfs.mdir') && { nfs: { server: text('nfs.server'), path: text('nfs.mdir') } }),
    ...(values.has('launch.image') && { launchImage: image('launch.image') }),
  };
}

/** "10.0.116.41:80/library/filebeat:latest": the last colon behind the last slash is the tag's. */
export function parseImage(reference: string): ImageSpec | undefined {
  const groups =
    /^(?<repository>[a-z0-9][a-z0-9._\-/:]*?)(?:@(?<digest>sha256:[0-9a-f]{64})|:(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))$/.exec(
      reference,
    )?.groups;
  if (!groups?.repository) return undefined;
  const { repository, digest, tag } = groups;
  return digest === undefined ? { repository, ...(tag !== undefined && { tag }) } : { repository, digest };
}

/** values.schema.json of the chart: helm holds values against it before it renders. */
export function valuesSchema(runenvs: readonly string[]): Record<string, unknown> {
  const root = section();
  for (const [path, { kind, optional, schema = {} }] of Object.entries(VALUES)) {
    const names = path.split('.');
    let at = root;
    for (const name of names.slice(0, -1)) {
      if (!(name in at.properties)) at.properties[name] = section();
      if (!optional && !at.required.includes(name)) at.required.push(name);
      at = at.properties[name] as Section;
    }
    const name = names.at(-1) ?? '';
    const text = { type: 'string', minLength: 1, ...schema, ...(path === 'runenv' && { enum: runenvs }) };
    at.properties[name] = kind === 'text' ? text : { type: 'array', minItems: 1, items: { type: 'string' } };
    if (!optional) at.required.push(name);
  }
  return { $schema: 'http://json-schema.org/draft-07/schema#', ...root };
}

interface Section {
  readonly type: 'object';
  readonly additionalProperties: false;
  readonly required: string[];
  readonly properties: Record<string, unknown>;
}

function section(): Section {
  return { type: 'object', additionalProperties: false, required: [], properties: {} };
}

function isSection(path: string): boolean {
  return Object.keys(VALUES).some((key) => key.startsWith(`${path}.`));
}

function unknownKey(path: string): { key: string; nearest: string | undefined; known: readonly string[] } {
  const parent = path.includes('.') ? `${path.slice(0, path.lastIndexOf('.'))}.` : '';
  const names = Object.keys(VALUES)
    .filter((key) => key.startsWith(parent))
    .map((key) => key.slice(parent.length).split('.')[0] ?? '');
  const known = [...new Set(names)];
  const near = nearest(path.slice(parent.length), known);
  return { key: path, nearest: near === undefined ? undefined : parent + near, known: known.map((name) => parent + name) };
}
