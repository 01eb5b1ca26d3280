/** Cron expressions as Kubernetes takes them: five fields with lists, ranges, steps, and names of months and days. */

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const MACROS = ['@yearly', '@annually', '@monthly', '@weekly', '@daily', '@midnight', '@hourly'];

interface Field {
  readonly min: number;
  readonly max: number;
  readonly names?: readonly string[];
}

const FIELDS: readonly Field[] = [
  { min: 0, max: 59 },
  { min: 0, max: 23 },
  { min: 1, max: 31 },
  { min: 1, max: 12, names: MONTHS },
  { min: 0, max: 6, names: DAYS }, // Kubernetes' own parser has no 7 for Sunday
];

// Whether `text` is a schedule: `*/5 * * * *`, `0 2 * * sat,sun`, `@daily`.
export function isCron(text: string): boolean {
  if (MACROS.includes(text)) return true;
  const parts = text.trim().split(/\s+/);
  return (
    parts.length === FIELDS.length && FIELDS.every((field, index) => (parts[index] ?? '').split(',').every((part) => isPart(part, field)))
  );
}

/** Whether this is a time zone of the IANA database, as this program knows it. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false; // RangeError is its way of saying no
  }
}

function isPart(text: string, field: Field): boolean {
  const [range = '', step, ...rest] = text.split('/');
  if (rest.length > 0 || (step !== undefined && !/^[1-9]\d{0,3}$/.test(step))) return false;
  if (range === '*' || range === '?') return true;
  const [from, to, ...more] = range.split('-').map((value) => numberOf(value, field));
  if (more.length > 0 || from === undefined) return false;
  return range.includes('-') ? to !== undefined && from <= to : true;
}

function numberOf(text: string, { min, max, names }: Field): number | undefined {
  const named = names?.indexOf(text.toLowerCase()) ?? -1;
  if (named >= 0) return named + min;
  const value = /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : undefined;
}
