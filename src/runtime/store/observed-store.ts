/** A store whose calls somebody hears of: how each ended, and nothing of what was in it. */
import { CodedError } from 'cdk8s-baremetal-contract';
import type { Store } from './store.ts';

export type StoreOperation = 'get' | 'list' | 'create' | 'update' | 'delete';

/** `result`: "ok", also where a compare-and-swap was lost; else the code of the error. */
export function observedStore(store: Store, tell: (operation: StoreOperation, result: string) => void): Store {
  const observed = async <T>(operation: StoreOperation, call: Promise<T>): Promise<T> => {
    try {
      const answer = await call;
      tell(operation, 'ok');
      return answer;
    } catch (error) {
      tell(operation, error instanceof CodedError ? error.code : 'other');
      throw error;
    }
  };
  return {
    get: (kind, id) => observed('get', store.get(kind, id)),
    list: (kind, options) => observed('list', store.list(kind, options)),
    create: (kind, id, value) => observed('create', store.create(kind, id, value)),
    update: (kind, record, expectedVersion) => observed('update', store.update(kind, record, expectedVersion)),
    delete: (kind, record, expectedVersion) => observed('delete', store.delete(kind, record, expectedVersion)),
    watch: (kind, handler) => store.watch(kind, handler),
    close: () => store.close(),
  };
}
