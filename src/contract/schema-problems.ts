/** What the schema says of a site as people wrote it, as coded errors with the place of each. */
import type { z } from 'zod';
import { suggestSubnet } from './addresses.ts';
import { type DataPath, formatPath } from './data-path.ts';
import { type CodedError, nearest } from './errors.ts';
import { asObject } from './loose.ts';
import { maskUrlPasswords } from './mask.ts';
import { siteErrors } from './site-errors.ts';
import { siteSpecSchema } from './site-spec.ts';

export type Report = (path: DataPath, error: CodedError) => void;

const SECRET_FIELD = /pass(?:word|wd|phrase)?$|secret$|token$|^key$|private_?key$/i;
const URL_WITH_PASSWORD = /^[a-z][a-z0-9+.-]*:\/\/[^/@\s]*:[^/@\s]+@/i;
/** Fields that hold names as Kubernetes wants them: a wrong one gets the error that says so. */
const NAME_FIELD = /(?:^|\.)(?:name|namespace|secretName|pullSecret|storageClassName)$|\.hosts\[\d+\]$/;

/** Secrets given as values, unknown, missing and malformed fields. */
export function checkSchema(site: unknown, report: Report): void {
  reportSecrets(site, report);
  const parsed = siteSpecSchema.safeParse(site);
  if (parsed.success) return;
  for (const issue of parsed.error.issues) reportIssue(site, issue, report);
}

/** Secrets are looked for by name and by form anywhere, before anything prints a value. */
function reportSecrets(site: unknown, report: Report): void {
  const path: (string | number)[] = [];
  const visit = (value: unknown, name: string): void => {
    if (typeof value === 'string') {
      if (isSecretName(name) || (value.includes('://') && URL_WITH_PASSWORD.test(value))) {
        report([...path], siteErrors.SITE_SECRET_AS_VALUE({ field: formatPath(path) }));
      }
    } else if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) enter(index, item, name);
    } else if (typeof value === 'object' && value !== null) {
      const inSecret = 'secretName' in value; // beside it, `key` is the name of a key; 32 bytes in base64 end with =
      for (const [key, item] of Object.entries(value)) enter(key, item, inSecret && key === 'key' && isKeyName(item) ? 'keyName' : key);
    }
  };
  const enter = (key: string | number, value: unknown, name: string): void => {
    path.push(key);
    visit(value, name);
    path.pop();
  };
  visit(site, '');
}

function isKeyName(value: unknown): boolean {
  return typeof value === 'string' && /^[-._a-zA-Z0-9]{1,40}$/.test(value);
}

const secretNames = new Map<string, boolean>();

function isSecretName(name: string): boolean {
  let answer = secretNames.get(name);
  if (answer === undefined) {
    answer = SECRET_FIELD.test(name) && name !== 'pullSecret';
    secretNames.set(name, answer);
  }
  return answer;
}

function reportIssue(site: unknown, issue: z.core.$ZodIssue, report: Report): void {
  const path = issue.path.filter((key) => typeof key !== 'symbol');
  const field = formatPath(path) || 'the site';
  const value = valueAt(site, path);
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(path);
    for (const key of issue.keys) {
      const inner = [...path, key];
      if (SECRET_FIELD.test(key) && typeof valueAt(site, inner) === 'string') continue; // told by reportSecrets
      const near = nearest(key, known);
      report(inner, siteErrors.SITE_FIELD_UNKNOWN({ field: formatPath(inner), known, ...(near !== undefined && { nearest: near }) }));
    }
    return;
  }
  if (value === undefined) {
    report(path, siteErrors.SITE_FIELD_MISSING({ field }));
    return;
  }
  const params = { field, value: maskUrlPasswords(JSON.stringify(value)), rule: rule(issue, value) };
  report(path, NAME_FIELD.test(field) ? siteErrors.SITE_NAME_INVALID(params) : siteErrors.SITE_FIELD_INVALID(params));
}

function rule(issue: z.core.$ZodIssue, value: unknown): string {
  const suggestion = issue.path.at(-1) === 'cidr' && typeof value === 'string' ? suggestSubnet(value) : undefined;
  const text = /^(?:must|needs)/.test(issue.message) ? issue.message : `is refused (${issue.message})`;
  return suggestion === undefined || suggestion === value ? text : `${text}; did you mean ${suggestion}?`;
}

/** The keys that the schema knows at `path`, for the nearest one. */
function knownKeys(path: DataPath): string[] {
  let schema: unknown = siteSpecSchema;
  for (const key of path) schema = step(schema, key);
  const { shape } = asObject(unwrap(schema));
  return Object.keys(asObject(shape));
}

function step(schema: unknown, key: string | number): unknown {
  const inner = asObject(unwrap(schema));
  if (typeof key === 'number') return inner.element;
  return asObject(inner.shape)[key] ?? inner.valueType;
}

/** Through optional and default wrappers. */
function unwrap(schema: unknown): unknown {
  const { def } = asObject(schema);
  const { innerType } = asObject(def);
  return innerType === undefined ? schema : unwrap(innerType);
}

function valueAt(value: unknown, path: DataPath): unknown {
  return path.reduce<unknown>((inner, key) => (Array.isArray(inner) ? inner[Number(key)] : asObject(inner)[key]), value);
}
