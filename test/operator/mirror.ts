/** A small controller for tests: keeps a copy of every ConfigMap that is labelled `mirror=yes`. */
import type { KubeApi } from '../../src/operator/engine/api.ts';
import { applyObject } from '../../src/operator/engine/apply.ts';
import { type Controller, done, ownedSource, type ReconcileContext, type ReconcileResult } from '../../src/operator/engine/controller.ts';
import { createInformer, type Informer } from '../../src/operator/engine/informer.ts';
import { createManager, type Manager, type ManagerOptions } from '../../src/operator/engine/manager.ts';
import { createMetrics, type Metrics } from '../../src/operator/engine/metrics.ts';
import { parseKey } from '../../src/operator/engine/objects.ts';
import { resourceTypes, typeTable } from '../../src/operator/engine/resource-types.ts';
import type { Clock } from '../../src/runtime/core/clock.ts';
import { type Logger, silentLogger } from '../../src/runtime/core/logger.ts';
import { seededRandom } from '../../src/simulator/random.ts';

const { configMaps } = resourceTypes;
const types = typeTable();
const INVENTORY = { label: 'mirrored', value: 'yes' };

export interface Mirror {
  readonly manager: Manager;
  readonly metrics: Metrics;
  readonly source: Informer;
  /** Keys worked on, in order of beginning. */
  readonly begun: string[];
  readonly stop: AbortController;
  readonly running: Promise<void>;
  /** The most reconciles that ran at once. */
  most: number;
}

export interface MirrorOptions {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly namespace: string;
  readonly identity?: string;
  readonly before?: (key: string, context: ReconcileContext) => Promise<ReconcileResult | undefined>;
  readonly controller?: Partial<Controller>;
  readonly manager?: Partial<ManagerOptions>;
  readonly logger?: Logger;
}

export function startMirror({
  api,
  clock,
  namespace,
  identity,
  before,
  controller = {},
  manager: more = {},
  logger = silentLogger,
}: MirrorOptions): Mirror {
  const metrics = createMetrics();
  const random = seededRandom(identity ?? 'mirror');
  const common = { api, type: configMaps, clock, random, logger, metrics, namespace };
  const source = createInformer({ ...common, labelSelector: 'mirror=yes' });
  const copies = createInformer({ ...common, labelSelector: 'mirrored=yes' });
  const begun: string[] = [];
  const working = new Set<string>();
  const reconcile = async (key: string, context: ReconcileContext): Promise<ReconcileResult> => {
    if (working.has(key)) throw new Error(`${key} is worked on already`);
    working.add(key);
    begun.push(key);
    mirror.most = Math.max(mirror.most, working.size);
    try {
      const early = await before?.(key, context);
      if (early) return early;
      const original = source.store.get(key);
      if (!original) return done;
      const { name } = parseKey(key);
      const copy = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `${name}-copy`, namespace }, data: original.data };
      const live = copies.store.get(`${namespace}/${name}-copy`) ?? null;
      await applyObject(copy, { api: context.api, types, inventory: INVENTORY, owner: original, live });
      return done;
    } finally {
      working.delete(key);
    }
  };
  const mine: Controller = {
    name: 'mirror',
    // data of a ConfigMap has no generation: every change counts
    sources: [
      { informer: source, keys: ({ object: { metadata } }) => [`${metadata.namespace}/${metadata.name}`] },
      ownedSource(copies, configMaps),
    ],
    reconcile,
    ...controller,
  };
  const election = identity === undefined ? {} : { election: { api, lease: { namespace, name: 'mirror' }, identity } };
  const manager = createManager({ api, clock, random, logger, metrics, informers: [], controllers: [mine], ...election, ...more });
  const stop = new AbortController();
  const mirror: Mirror = { manager, metrics, source, begun, stop, most: 0, running: Promise.resolve() };
  return Object.assign(mirror, { running: manager.run(stop.signal) });
}
