/**
 * Configuration texts live in ConfigMaps, where everybody who may read the namespace sees them; passwords live in Secrets. An
 * init container brings the two together in a volume that exists only in memory, before the service starts.
 *
 * A placeholder is `@{secret:KEY}`, `@{secret:KEY|url}` or `@{secret:KEY|sh}`, inside a double-quoted string of one line:
 *
 *     admin_password: "@{secret:service-password}"
 *     sql_connection: "mysql+pymysql://glance:@{secret:db-password|url}@10.168.26.216:3306/glance?charset=utf8"
 *     export OS_PASSWORD="@{secret:service-password|sh}"
 *
 * KEY is a key of the component's Secret. The value is escaped as the inside of a double-quoted string, after
 * percent-encoding when `|url` asks for it, and with what a shell would expand when `|sh` does, so no password can end the
 * string or begin another option. `@@{secret:` stands
 * for a literal `@{secret:`. The form clashes with nothing in use: shells, Go templates and oslo.config begin with `$` or
 * `{{`, and YAML lets no plain scalar begin with `@`, so a file that was never rendered does not parse by accident.
 *
 * The program around it (see `renderProgram`): for each file of `templates`, read it, replace the placeholders with the
 * contents of the files in `secrets` (file name = KEY, one line break at the end dropped), and write the result under the same
 * name in `output`, whole or not at all, with mode 0440. It changes nothing when any file fails, prints the error's code and
 * sentence, never a value, and exits with 78 (EX_CONFIG). Names that begin with `..` are the kubelet's and skipped.
 */
import { type CodedError, defineErrors, entry, nearest } from '../errors.ts';
import { Secret } from '../secret.ts';

export const renderErrors = defineErrors('Secrets in configurations', {
  RENDER_SECRET_MISSING: entry<{ file: string; line: number; key: string; known: readonly string[] }>({
    message: ({ file, line, key }) => `${file}:${line} wants the secret ${key}, which is not there`,
    cure: ({ key, known }) => {
      const near = nearest(key, known);
      return near ? `Did you mean ${near}?` : `Add the key to the component's credentials Secret; it has ${known.join(', ') || 'none'}`;
    },
  }),
  RENDER_PLACEHOLDER_MALFORMED: entry<{ file: string; line: number }>({
    message: ({ file, line }) =>
      `${file}:${line} has a placeholder that is not of the form @{secret:KEY}, @{secret:KEY|url} or @{secret:KEY|sh}`,
    cure: 'Correct the placeholder, or write @@{secret: for the literal text',
  }),
  RENDER_PLACEHOLDER_UNQUOTED: entry<{ file: string; line: number; key: string }>({
    message: ({ file, line, key }) => `${file}:${line} has the secret ${key} outside of a double-quoted string`,
    cure: 'Put the value in double quotes: a password could otherwise change the meaning of the file',
  }),
  RENDER_SECRET_UNPRINTABLE: entry<{ file: string; line: number; key: string }>({
    message: ({ file, line, key }) => `${file}:${line}: the secret ${key} is empty or contains control characters (value not shown)`,
    cure: 'Set it to one line of printable text',
  }),
});

/** Where the init container finds and leaves things. */
export const renderProgram = {
  container: 'render-config',
  command: ['node', '/app/render-secrets.cjs'],
  /** Environment variables that hold the three folders. */
  variables: { templates: 'ONECLOUD_TEMPLATES', secrets: 'ONECLOUD_SECRETS', output: 'ONECLOUD_CONFIG' },
  templates: '/run/onecloud/templates',
  secrets: '/run/onecloud/secrets',
  output: '/run/onecloud/config',
  /** The user that writes, and the group by which the service reads: a root without capabilities reads no other user's file. */
  user: 65532,
  group: 65532,
} as const;

export type SecretEncoding = 'plain' | 'url' | 'sh';

/** The text that stands for a secret. */
export function placeholder(key: string, encoding: SecretEncoding = 'plain'): string {
  return encoding === 'plain' ? `@{secret:${key}}` : `@{secret:${key}|${encoding}}`;
}

export interface RenderResult {
  /** With the secrets in it: not to be printed. Absent when there are problems. */
  readonly text: Secret | undefined;
  readonly problems: readonly CodedError[];
}

const OPENING = '@{secret:';
const PLACEHOLDER = /@\{secret:(?<key>[a-z0-9]+(?:[-.][a-z0-9]+)*)(?:\|(?<encoding>url|sh))?\}/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
const CONTROL = /[\u0000-\u001f\u007f\u0085\u2028\u2029]/;

/** Replaces the placeholders of one file. All problems are told, none with a value. */
export function renderSecrets(text: string, secrets: ReadonlyMap<string, Secret>, file: string): RenderResult {
  const problems: CodedError[] = [];
  const lines = text.split('\n').map((line, index) => renderLine(line, { secrets, file, line: index + 1, problems }));
  return { text: problems.length > 0 ? undefined : new Secret(lines.join('\n')), problems };
}

interface Place {
  readonly secrets: ReadonlyMap<string, Secret>;
  readonly file: string;
  readonly line: number;
  readonly problems: CodedError[];
}

function renderLine(line: string, place: Place): string {
  if (!line.includes(OPENING)) return line;
  let result = '';
  let at = 0;
  let quoted = false;
  while (at < line.length) {
    if (line.startsWith(`@${OPENING}`, at)) {
      result += OPENING;
      at += OPENING.length + 1;
    } else if (line.startsWith(OPENING, at)) {
      PLACEHOLDER.lastIndex = at;
      const match = PLACEHOLDER.exec(line);
      result += match ? secretOf(match, quoted, place) : malformed(place);
      at += match?.[0].length ?? OPENING.length;
    } else if (quoted && line[at] === '\\') {
      result += line.slice(at, at + 2);
      at += 2;
    } else {
      if (line[at] === '"') quoted = !quoted;
      result += line[at];
      at += 1;
    }
  }
  return result;
}

function malformed({ file, line, problems }: Place): string {
  problems.push(renderErrors.RENDER_PLACEHOLDER_MALFORMED({ file, line }));
  return '';
}

function secretOf(match: RegExpExecArray, quoted: boolean, { secrets, file, line, problems }: Place): string {
  const key = match.groups?.key ?? '';
  const value = secrets.get(key)?.reveal();
  if (!quoted) problems.push(renderErrors.RENDER_PLACEHOLDER_UNQUOTED({ file, line, key }));
  if (value === undefined) {
    problems.push(renderErrors.RENDER_SECRET_MISSING({ file, line, key, known: [...secrets.keys()] }));
    return '';
  }
  const lone = value.replace(/\r?\n$/, '');
  if (lone === '' || CONTROL.test(lone) || !lone.isWellFormed()) {
    problems.push(renderErrors.RENDER_SECRET_UNPRINTABLE({ file, line, key }));
    return '';
  }
  const encoding = match.groups?.encoding;
  const encoded = encoding === 'url' ? percentEncode(lone) : lone;
  return encoded.replaceAll(encoding === 'sh' ? /[\\"$`]/g : /[\\"]/g, '\\$&');
}

/** RFC 3986: everything but unreserved characters; encodeURIComponent leaves !'()* as they are. */
function percentEncode(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
