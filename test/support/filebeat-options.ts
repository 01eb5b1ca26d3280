/** The options of filebeat 7.14 to 9 that a configuration of ours may use, with what each holds. Everything else is refused. */
import { parse } from 'yaml';

type Check = (value: unknown) => boolean;

const text: Check = (value) => typeof value === 'string' && value !== '';
const texts: Check = (value) => Array.isArray(value) && value.length > 0 && value.every(text);
const boolean: Check = (value) => typeof value === 'boolean';
const nothing: Check = (value) => value === null;
const duration: Check = (value) => typeof value === 'string' && /^\d+(?:ms|s|m|h)$/.test(value);
const oneOf =
  (...words: string[]): Check =>
  (value) =>
    words.includes(String(value));
const hosts: Check = (value) =>
  Array.isArray(value) && value.every((host) => /^(?:rediss?:\/\/)?[^\s:@/]+:\d+$|^\[[0-9a-f:]+\]:\d+$/i.test(String(host)));

/** Dotted and nested spellings mean the same to filebeat; these are dotted. */
const TOP: Readonly<Record<string, Check>> = { 'filebeat.inputs': Array.isArray, 'filebeat.shutdown_timeout': duration };
const FILESTREAM: Readonly<Record<string, Check>> = {
  type: oneOf('filestream'),
  id: text,
  enabled: boolean,
  paths: texts,
  parsers: Array.isArray,
  tags: texts,
  'file_identity.native': nothing,
  'file_identity.path': nothing,
  'prospector.scanner.fingerprint.enabled': boolean,
};
const MULTILINE: Readonly<Record<string, Check>> = {
  type: oneOf('pattern'),
  pattern: text,
  negate: boolean,
  match: oneOf('after', 'before'),
  max_lines: Number.isInteger,
  timeout: duration,
};
const REDIS: Readonly<Record<string, Check>> = {
  enabled: boolean,
  hosts,
  key: text,
  password: (value) => /^'?\$\{[A-Z_]+\}'?$/.test(String(value)), // from the environment, never a value
  db: Number.isInteger,
  datatype: oneOf('list', 'channel'),
  timeout: duration,
};

/** What is wrong with a filebeat.yml, one line each. */
export function filebeatProblems(yaml: string): string[] {
  const config = parse(yaml) as Record<string, unknown>;
  const outputs = Object.keys(config).filter((key) => key.startsWith('output'));
  const problems = outputs.length === 1 && outputs[0] === 'output.redis' ? [] : [`outputs: ${outputs.join(', ')}`];
  const { 'output.redis': redis, ...top } = config;
  problems.push(...against(TOP, top, ''), ...against(REDIS, redis, 'output.redis.'));
  const inputs = (config['filebeat.inputs'] ?? []) as Record<string, unknown>[];
  const ids = new Set<unknown>();
  for (const [index, input] of inputs.entries()) {
    const at = `filebeat.inputs[${index}].`;
    problems.push(...against(FILESTREAM, input, at));
    if (input.id === undefined || ids.has(input.id)) problems.push(`${at}id is missing or not unique`);
    ids.add(input.id);
    for (const parser of (input.parsers ?? []) as Record<string, unknown>[]) {
      if (Object.keys(parser).join() !== 'multiline') problems.push(`${at}parsers: ${Object.keys(parser).join()}`);
      problems.push(...against(MULTILINE, parser.multiline, `${at}parsers.multiline.`));
    }
    if (Object.keys(input).filter((key) => key.startsWith('file_identity')).length !== 1)
      problems.push(`${at}file_identity is left to the version`);
  }
  return problems;
}

function against(table: Readonly<Record<string, Check>>, value: unknown, at: string): string[] {
  if (typeof value !== 'object' || value === null) return [`${at} is missing`];
  return Object.entries(value).flatMap(([key, item]) => {
    const check = table[key];
    if (!check) return [`${at}${key} is no option`];
    return check(item) ? [] : [`${at}${key} is ${JSON.stringify(item)}`];
  });
}
