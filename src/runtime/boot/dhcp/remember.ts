const MOST_REMEMBERED = 4096;

/** Puts it at the end and drops the oldest: what a flood of made-up addresses fills must not grow. */
export function remember(map: Map<string, number>, key: string, untilMs: number): void {
  map.delete(key);
  map.set(key, untilMs);
  const oldest = map.size > MOST_REMEMBERED ? map.keys().next().value : undefined;
  if (oldest !== undefined) map.delete(oldest);
}
