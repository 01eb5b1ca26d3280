/** What another system exported, as text: JSON, or YAML as `kubectl get -o yaml` prints it, one document or many. */
import { parse, parseAllDocuments } from 'yaml';

/**
 * The documents of a text. Throws an Error that names the line and never quotes the text, which may hold passwords: parsers' own
 * messages show what they read.
 */
export function readDocuments(text: string): unknown[] {
  const trimmed = text.trimStart();
  if (trimmed === '') throw new Error('it is empty');
  try {
    return [JSON.parse(trimmed)];
  } catch {
    // then it is YAML, or nothing
  }
  const documents = parseAllDocuments(text, { logLevel: 'silent' });
  if (!Array.isArray(documents)) throw new Error('it is empty');
  for (const { errors } of documents) {
    const [first] = errors;
    if (first) throw new Error(`it is neither JSON nor YAML (line ${first.linePos?.[0].line ?? 1})`);
  }
  // bounded: an export has no reason for many aliases, and a small text of them may stand for gigabytes
  return documents.map((document) => document.toJS({ maxAliasCount: 100 }) as unknown).filter((value) => value !== null);
}

/** Names and what belongs to each, all of it text as it stands: a password of digits keeps its leading zero. Throws as above. */
export function readTextMap(text: string): ReadonlyMap<string, string> {
  let value: unknown;
  try {
    value = parse(text, { schema: 'failsafe', logLevel: 'silent' });
  } catch {
    throw new Error('it is neither JSON nor YAML');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('it is no mapping of names to passwords');
  const entries = Object.entries(value);
  const wrong = entries.find(([, one]) => typeof one !== 'string');
  if (wrong) throw new Error(`what belongs to ${wrong[0]} is not text`);
  return new Map(entries as [string, string][]);
}
