/** A KubeApi whose requests end with a signal, and whose writes need leave. */
import type { ChangeOptions, KubeApi, RequestOptions } from './api.ts';

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
  const write = async <T, O extends ChangeOptions>(options: O | undefined, send: (guarded: O) => Promise<T>): Promise<T> => {
    mayWrite?.();
    return send({ ...within(options), ...(mayWrite && { mayWrite }) });
  };
  return {
    get: (type, key, options) => api.get(type, key, within(options)),
    list: (type, selection) => api.list(type, within(selection)),
    watch: (type, options) => api.watch(type, within(options)),
    create: (type, object, options) => write(options, (guarded) => api.create(type, object, guarded)),
    replace: (type, object, options) => write(options, (guarded) => api.replace(type, object, guarded)),
    patch: (type, key, patch, options) => write(options, (guarded) => api.patch(type, key, patch, guarded)),
    apply: (type, object, options) => write(options, (guarded) => api.apply(type, object, guarded)),
    delete: (type, key, options) => write(options, (guarded) => api.delete(type, key, guarded)),
  };
}
