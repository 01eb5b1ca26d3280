/**
 * The API server as everything above it sees it. `http-api.ts` speaks to a real one, a fake in the tests keeps objects in
 * memory; both follow the same rules of versions, watches and field managers.
 */
import type { KubeObject, LiveObject, ObjectKey, ResourceType } from './objects.ts';

/** The one field manager of the operator; changing it would orphan every field that was ever applied. */
export const FIELD_MANAGER = 'cdk8s-baremetal-operator';

export interface RequestOptions {
  readonly signal?: AbortSignal;
}

export interface ChangeOptions extends RequestOptions {
  /** Asked right before the request is sent, however long it waited for its turn; what it throws is thrown. */
  readonly mayWrite?: () => void;
}

export interface Selection extends RequestOptions {
  /** Absent: all namespaces. */
  readonly namespace?: string;
  /** As kubectl's -l. */
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface ObjectList {
  /** The state that the list shows; a watch goes on from here. */
  readonly resourceVersion: string;
  readonly items: readonly LiveObject[];
}

export interface WatchOptions extends Selection {
  readonly resourceVersion: string;
  /** The server ends the watch after this time. */
  readonly timeoutSeconds: number;
}

export type WatchEvent =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: LiveObject }
  /** Nothing happened up to this version. */
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

export interface ApplyOptions extends ChangeOptions {
  readonly fieldManager?: string;
  /** Take fields that other managers set to other values. */
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly subresource?: 'status';
}

export interface WriteOptions extends ChangeOptions {
  readonly fieldManager?: string;
  readonly subresource?: 'status';
}

export interface DeleteOptions extends ChangeOptions {
  /** `Background` (default): dependants go afterwards; `Foreground`: before; `Orphan`: they stay. */
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan';
  /** Only this very object, not a namesake created since. */
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** All methods throw ApiError, or the signal's reason. Writes give back the object as it is then. */
export interface KubeApi {
  get(type: ResourceType, key: ObjectKey, options?: RequestOptions): Promise<LiveObject>;
  /** Complete: pages are gathered. */
  list(type: ResourceType, selection?: Selection): Promise<ObjectList>;
  /** Ends when the server or the connection ends it; throws ApiError `gone` when the version is too old. */
  watch(type: ResourceType, options: WatchOptions): AsyncIterable<WatchEvent>;
  create(type: ResourceType, object: KubeObject, options?: WriteOptions): Promise<LiveObject>;
  /** With metadata.resourceVersion: only when nobody wrote since (`conflict` otherwise). */
  replace(type: ResourceType, object: KubeObject, options?: WriteOptions): Promise<LiveObject>;
  /** JSON merge patch: null removes a field. */
  patch(type: ResourceType, key: ObjectKey, patch: Readonly<Record<string, unknown>>, options?: WriteOptions): Promise<LiveObject>;
  /** Server-side apply. */
  apply(type: ResourceType, object: KubeObject, options?: ApplyOptions): Promise<LiveObject>;
  /** Resolves when the deletion is accepted; the object may stay until its finalizers are done. */
  delete(type: ResourceType, key: ObjectKey, options?: DeleteOptions): Promise<void>;
}
