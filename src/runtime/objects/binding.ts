/** Which object a machine follows: a record of its own, since a machine without an object has none, and an object that is refused has no machine. */
import { z } from 'zod';
import type { Kind } from '../store/index.ts';

const binding = z.looseObject({
  namespace: z.string().min(1),
  name: z.string().min(1),
  /** Site and pod whose management nodes follow it, e.g. `pod45-wuxi2`: pods may share a database. */
  place: z.string().min(1),
  /** Of the object that it follows. */
  uid: z.string().min(1),
  nodeUuid: z.string().min(1),
  /** The spec that the machine's record has been brought to; 0: none yet. */
  generation: z.number().int().nonnegative(),
  /** The object is gone since. */
  goneSince: z.number().int().nonnegative().optional(),
});

export type Binding = z.infer<typeof binding>;
export const bindingKind: Kind<Binding> = { name: 'machine-object', parse: (value) => binding.parse(value) };

/** A namespace has no dot in its name. */
export function bindingId({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}.${name}`;
}
