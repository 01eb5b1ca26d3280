/** Reading of JSON that a management controller wrote: anything may be missing or of another kind. */
export type Json = Readonly<Record<string, unknown>>;

/** Anything but an object is an empty one. */
export function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

/** What stands at the end of these names. */
export function at(value: unknown, ...names: readonly string[]): unknown {
  return names.reduce<unknown>((one, name) => asObject(one)[name], value);
}

export function nextTextOf(value: unknown, ...names: readonly string[]): string | undefined {
  const found = at(value, ...names);
  return typeof found === 'string' && found !== '' ? found : undefined;
}

/** Texts of a list; undefined when there is no list. */
export function textsAt(value: unknown, ...names: readonly string[]): readonly string[] | undefined {
  const found = at(value, ...names);
  return Array.isArray(found) ? found.filter((one): one is string => typeof one === 'string') : undefined;
}

/** `@odata.id` of each member of a list of links. */
export function linksAt(value: unknown, ...names: readonly string[]): readonly string[] {
  const found = at(value, ...names);
  return Array.isArray(found) ? found.flatMap((one) => nextTextOf(one, '@odata.id') ?? []) : [];
}

const LONGEST = 300;

/** What the service says of an error (DSP0266, "Error responses"): the messages beside the error, since "see @Message.ExtendedInfo" tells nothing. */
export function refusalText({ status, json }: { readonly status: number; readonly json: Json }): string {
  const info = at(json, 'error', '@Message.ExtendedInfo') ?? at(json, 'Messages');
  const messages = Array.isArray(info) ? info.flatMap((one) => nextTextOf(one, 'Message') ?? nextTextOf(one, 'MessageId') ?? []) : [];
  const text = messages.join(' ') || (nextTextOf(json, 'error', 'message') ?? '');
  return `${status}${text === '' ? '' : ` ${text}`}`.replaceAll(/[^\x20-\x7e\u00a0-\uffff]/g, ' ').slice(0, LONGEST);
}
