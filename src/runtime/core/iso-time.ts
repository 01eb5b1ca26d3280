/** RFC 3339 in UTC with milliseconds, e.g. 2026-11-21T03:04:05.678Z, of a wall-clock time in milliseconds. */
export function isoTime(wallMs: number): string {
  return new Date(wallMs).toISOString();
}

/** The wall-clock time in milliseconds that such a text stands for; undefined for what is none. */
export function parseIsoTime(text: string): number | undefined {
  const wallMs = Date.parse(text);
  return Number.isNaN(wallMs) ? undefined : wallMs;
}
