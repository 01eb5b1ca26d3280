/** A KubeApi whose requests end with a signal, and whose writes need leave. */
import type { KubeApi, RequestOptions } from './api.ts';

export interface Guard {
  /** Aborts every request made through the guarded API. */
  readonly signal: AbortSignal;
  /** Throws when nothing may be written any more: what wakes up late must not write over its successor. */
  readonly mayWrite?: () => void;
}

export function guardedApi(api: KubeApi, { signal, mayWrite }: Guard): KubeApi {
  const within = <O extends RequestOptions>(options: O | undefined): O & { signal: AbortSignal } =>
    ({ ...options, signal: options?.signal === undefined ? signal : AbortSignal.any([signal, options.signal]) }) as O & {
      signal: AbortSignal;
    };
  const write = async <T>(send: () => Promise<T>): Promise<T> => {
    mayWrite?.();
    return send();
  };
  return {
    get: (type, key, options) => api.get(type, key, within(options)),
    list: (type, selection) => api.list(type, within(selection)),
    watch: (type, options) => api.watch(type, within(options)),
    create: (type, object, options) => write(() => api.create(type, object, within(options))),
    replace: (type, object, options) => write(() => api.replace(type, object, within(options))),
    patch: (type, key, patch, options) => write(() => api.patch(type, key, patch, within(options))),
    apply: (type, object, options) => write(() => api.apply(type, object, within(options))),
    delete: (type, key, options) => write(() => api.delete(type, key, within(options))),
  };
}
