/** Reading data of unknown shape without trusting or refusing it: what has another shape counts as empty. */

export type Fields = Readonly<Record<string, unknown>>;

export function asObject(value: unknown): Fields {
  return (typeof value === 'object' || typeof value === 'function') && value !== null ? (value as Fields) : {};
}

export function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function asText(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
