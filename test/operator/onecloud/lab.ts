/** An operator, an API server in memory, and stand-ins for Kubernetes' controllers, all on virtual time. */
import { clusterStatusSchema } from 'cdk8s-baremetal-contract/onecloud/index';
import { parse } from 'yaml';
import type { ClusterStatus } from '../../../src/contract/onecloud/cluster-status.ts';
import type { Condition } from '../../../src/operator/engine/conditions.ts';
import { createEventRecorder } from '../../../src/operator/engine/events.ts';
import { createManager } from '../../../src/operator/engine/manager.ts';
import { createMetrics } from '../../../src/operator/engine/metrics.ts';
import { at, type LiveObject } from '../../../src/operator/engine/objects.ts';
import { type ClusterControllerOptions, createClusterController } from '../../../src/operator/onecloud/cluster-controller.ts';
import { clusterType } from '../../../src/operator/onecloud/names.ts';
import { silentLogger } from '../../../src/runtime/core/logger.ts';
import { VirtualClock } from '../../../src/simulator/clock.ts';
import { seededRandom } from '../../../src/simulator/random.ts';
import { CORRECTED } from '../../contract/onecloud/seed.ts';
import { FakeApi } from '../fake-api.ts';
import { startMemoryKubelet } from './memory-kubelet.ts';

export const NAMESPACE = 'onecloud';
export const V1 = 'v3.1.3-20200312.0';
export const V2 = 'v3.1.3-20200320.0';
export const REPOSITORY = 'registry.cn-beijing.aliyuncs.com/yunionio';
export const KEY = { namespace: NAMESPACE, name: 'default' };

export class Lab {
  readonly clock = new VirtualClock({ startMs: Date.UTC(2026, 0, 5, 12, 0) }); // a Monday
  readonly api = new FakeApi(this.clock);
  readonly kubelet = startMemoryKubelet(this.api, this.clock);
  stopping = new AbortController();
  running: Promise<void> | undefined;
  readonly #ports: Pick<ClusterControllerOptions, 'databases' | 'identity'>;

  constructor(ports: Pick<ClusterControllerOptions, 'databases' | 'identity'> = {}) {
    this.#ports = ports;
  }

  async start(spec: Record<string, unknown> = {}): Promise<void> {
    await this.add(KEY.name, spec);
    await this.operate();
  }

  async add(name: string, spec: Record<string, unknown> = {}): Promise<void> {
    const { spec: seed } = parse(CORRECTED);
    delete seed.vpcAgent; // its own image is the subject of one test alone
    delete seed.glance.image;
    const metadata = { ...KEY, name };
    const object = { apiVersion: clusterType.apiVersion, kind: clusterType.kind, metadata, spec: { ...seed, ...spec } };
    await this.api.create(clusterType, object, { fieldManager: 'bmctl' });
  }

  /** Starts an operator; `renderImage` is that of its release. */
  async operate(renderImage?: string): Promise<void> {
    const random = seededRandom('operator');
    const common = { api: this.api, clock: this.clock, random, logger: silentLogger, metrics: createMetrics() };
    const events = createEventRecorder({ ...common, controller: 'onecloud.yunion.io/operator', instance: 'operator-0' });
    const { controller, informers } = await createClusterController({
      ...common,
      events,
      ...this.#ports,
      ...(renderImage !== undefined && { renderImage }),
    });
    const manager = createManager({ ...common, controllers: [controller], informers });
    this.running = manager.run(this.stopping.signal);
  }

  async replaceOperator(renderImage?: string): Promise<void> {
    this.stopping.abort(new Error('SIGTERM'));
    if (this.running) await this.clock.run(this.running);
    this.stopping = new AbortController();
    await this.operate(renderImage);
  }

  get status(): ClusterStatus {
    return clusterStatusSchema.parse(this.api.peek(clusterType.kind, 'onecloud/default')?.status ?? {});
  }

  get version(): unknown {
    return at(this.api.peek(clusterType.kind, 'onecloud/default'), 'status', 'version');
  }

  /** Of the events so far, the newest last. */
  get stories(): { readonly reason: unknown; readonly note: unknown }[] {
    return this.api.all('Event').map(({ reason, note }) => ({ reason, note }));
  }

  condition(type: string): Condition | undefined {
    return (this.status.conditions as Condition[] | undefined)?.find((condition) => condition.type === type);
  }

  object(kind: string, name: string): LiveObject | undefined {
    return this.api.peek(kind, `${NAMESPACE}/${name}`);
  }

  image(component: string, kind = 'Deployment'): unknown {
    return at(this.object(kind, `default-${component}`), 'spec', 'template', 'spec', 'containers', '0', 'image');
  }

  async patch(patch: Record<string, unknown>, manager = 'kubectl-edit'): Promise<void> {
    await this.api.patch(clusterType, KEY, patch, { fieldManager: manager });
  }

  /** Lets time pass until the cluster is in this phase. */
  async until(phase: ClusterStatus['phase'], limitMs = 3_600_000): Promise<void> {
    await this.clock.runUntil(() => at(this.api.peek(clusterType.kind, 'onecloud/default'), 'status', 'phase') === phase, { limitMs });
  }

  async quiet(ms = 60_000): Promise<number> {
    const before = this.api.writes().length;
    await this.clock.runFor(ms);
    return this.api.writes().length - before;
  }

  async stop(): Promise<void> {
    this.kubelet.stop();
    this.stopping.abort(new Error('SIGTERM'));
    if (this.running) await this.clock.run(this.running);
  }
}
