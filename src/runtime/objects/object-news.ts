/** What a replica has done, or will not do, about an object: for metrics, and for Kubernetes events on the object. */
export type ObjectChange = 'Enrolled' | 'Corrected' | 'Refused' | 'Held' | 'Released' | 'Withdrawn';

export interface ObjectNews {
  readonly change: ObjectChange;
  /** The object, also one that is gone by now. */
  readonly object: { readonly namespace: string; readonly name: string; readonly uid: string };
  /** In a sentence or two; nothing secret. */
  readonly message: string;
  /** Somebody has to do something. */
  readonly warning: boolean;
}
