/** When updates may roll: a cron expression that opens a window, and how long it stays open, in some place's time. */

export interface UpdateWindow {
  readonly cron: string;
  readonly durationMinutes: number;
  readonly timeZone: string;
}

const MINUTE_MS = 60_000;
/** Offsets of time zones are multiples of this, so local hour and date are constant in it. */
const QUARTER_MS = 15 * MINUTE_MS;
/** 29 February comes once in eight years around 2100. */
const HORIZON_MS = 8 * 366 * 24 * 60 * MINUTE_MS;

const MACROS: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

/** Whether a window that opened in the last `durationMinutes` is still open at `now` (milliseconds since 1970). */
export function isOpen(window: UpdateWindow, now: number): boolean {
  const opens = matcher(window);
  const minute = Math.floor(now / MINUTE_MS) * MINUTE_MS;
  for (let back = 0; back < window.durationMinutes; back++) if (opens(minute - back * MINUTE_MS)) return true;
  return false;
}

/** The next opening after `now`; undefined when there is none for years (30 February). */
export function nextOpening(window: UpdateWindow, now: number): number | undefined {
  const opens = matcher(window);
  let at = Math.floor(now / MINUTE_MS) * MINUTE_MS + MINUTE_MS;
  const end = now + HORIZON_MS;
  while (at < end) {
    if (opens.hourMatches(at)) {
      if (opens(at)) return at;
      at += MINUTE_MS;
    } else {
      at = (Math.floor(at / QUARTER_MS) + 1) * QUARTER_MS;
    }
  }
  return undefined;
}

interface Matcher {
  (at: number): boolean;
  /** Date and hour alone. */
  hourMatches(at: number): boolean;
}

function matcher({ cron, timeZone }: UpdateWindow): Matcher {
  const [minutes = '', hours = '', days = '', months = '', weekdays = ''] = (MACROS[cron] ?? cron).trim().split(/\s+/);
  const minute = members(minutes, 0, 59);
  const hour = members(hours, 0, 23);
  const day = members(days, 1, 31);
  const month = members(months, 1, 12, MONTHS);
  const weekday = members(weekdays, 0, 6, DAYS);
  // as in every cron: when both days are restricted, either will do
  const eitherDay = !isStar(days) && !isStar(weekdays);
  const local = localTime(timeZone);
  const hourMatches = (at: number): boolean => {
    const time = local(at);
    if (!hour.has(time.hour) || !month.has(time.month)) return false;
    const byDate = day.has(time.day);
    const byWeekday = weekday.has(time.weekday);
    return eitherDay ? byDate || byWeekday : byDate && byWeekday;
  };
  return Object.assign((at: number) => minute.has(local(at).minute) && hourMatches(at), { hourMatches });
}

function isStar(field: string): boolean {
  return /^[*?](?:\/|$)/.test(field);
}

/** The expression is checked before it comes here (contract's isCron). */
function members(field: string, min: number, max: number, names: readonly string[] = []): ReadonlySet<number> {
  const number = (text: string): number => {
    const named = names.indexOf(text.toLowerCase());
    return named >= 0 ? named + min : Number(text);
  };
  return new Set(
    field.split(',').flatMap((part) => {
      const [range = '', step] = part.split('/');
      const [from, to] = range === '*' || range === '?' ? [min, max] : range.split('-').map(number);
      const first = from ?? min;
      const last = to ?? (step === undefined ? first : max); // "5/15" means from 5 on
      const found: number[] = [];
      for (let value = first; value <= last; value += step === undefined ? 1 : Number(step)) found.push(value);
      return found;
    }),
  );
}

interface LocalTime {
  readonly minute: number;
  readonly hour: number;
  readonly day: number;
  readonly month: number;
  readonly weekday: number;
}

function localTime(timeZone: string): (at: number) => LocalTime {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    weekday: 'short',
  });
  return (at) => {
    const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]));
    return {
      minute: Number(parts.minute),
      hour: Number(parts.hour),
      day: Number(parts.day),
      month: Number(parts.month),
      weekday: DAYS.indexOf((parts.weekday ?? '').toLowerCase()),
    };
  };
}
