/** A store whose lists are as it was when they were asked for, and come later: what changes meanwhile is told before. */
import type { Store } from 'cdk8s-baremetal-runtime/store/index';

export function slowLists(store: Store, wait: () => Promise<unknown>): Store {
  return new Proxy(store, {
    get: (object, name) => {
      const given = Reflect.get(object, name, object);
      if (name !== 'list') return given.bind(object);
      return async (...asked: Parameters<Store['list']>) => {
        const records = await object.list(...asked);
        await wait();
        return records;
      };
    },
  });
}
