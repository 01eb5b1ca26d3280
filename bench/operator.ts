/**
 * The operator against `kubectl apply --server-side` of the same objects, on one API server: time and writes of an installation, of a pass that changes
 * nothing, of an idle hour; memory and latency. Prints the tables of docs/benchmarks.md.
 *
 *   npm run bench:operator -- [--quick] [--clusters N] [--rounds N] [--idle-seconds N] [--controllers-per-second N]
 *
 * Without --clusters as many as the variable CLUSTERS says, else 50. The controller manager's controllers may each ask the API server for more than their 20
 * requests a second, else they are all that is measured with many clusters.
 *
 * It starts an API server by kubetest ($KUBETEST, else ../shared/tools/kubetest); where there is none it takes the cluster of KUBECONFIG, if BMS_TEST_CLUSTER=1
 * says that it may. Pods become Ready by a stand-in for nodes, the same for both sides. The operator is the bundle of its image in a process of its own.
 * The sides alternate, each round in a new namespace; figures are medians.
 *
 * kubectl is asked twice: everything in one call, which is what it does best and what brings up services before their database's migrations; and layer by layer,
 * each call after the layer before is ready, which is what the operator does.
 */

import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { clusterManifests } from 'cdk8s-baremetal/onecloud/index';
import { operatorProgram } from 'cdk8s-baremetal/operator-installation';
import { type ClusterSpec, defaultInstance } from 'cdk8s-baremetal-contract/onecloud/index';
import { sleep } from 'cdk8s-baremetal-runtime/core/clock';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/logger';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { build } from 'esbuild';
import type { KubeApi } from '../src/operator/engine/api.ts';
import { isApiError } from '../src/operator/engine/api-error.ts';
import { clientNodeTransport, loadKubeConfig } from '../src/operator/engine/client-node-transport.ts';
import { httpApi } from '../src/operator/engine/http-api.ts';
import { createInformer, type Informer } from '../src/operator/engine/informer.ts';
import { type KubeObject, keyOf, type ResourceType, textAt } from '../src/operator/engine/objects.ts';
import { readinessOf } from '../src/operator/engine/readiness.ts';
import { resourceTypes } from '../src/operator/engine/resource-types.ts';
import { clusterType, INSTANCE_LABEL } from '../src/operator/onecloud/names.ts';
import { eventually } from '../test/operator/cluster.ts';
import { startKubetest } from '../test/operator/kubetest.ts';
import { clusterObject, clusterStatus, installKinds, loadSpec } from '../test/operator/load/clusters.ts';
import { MetricsPage } from '../test/operator/load/metrics-page.ts';
import { type OperatorProgram, startOperatorProgram } from '../test/operator/load/operator-program.ts';
import { startFakeKubelet } from '../test/support/fake-kubelet.ts';

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    clusters: { type: 'string' },
    rounds: { type: 'string' },
    'idle-seconds': { type: 'string' },
    'controllers-per-second': { type: 'string' },
  },
});
const CLUSTERS = Number(flags.clusters ?? process.env.CLUSTERS ?? (flags.quick ? 5 : 50));
const ROUNDS = Number(flags.rounds ?? (flags.quick ? 1 : 3));
const IDLE_SECONDS = Number(flags['idle-seconds'] ?? (flags.quick ? 20 : 60));
const CONTROLLERS_PER_SECOND = Number(flags['controllers-per-second'] ?? 200);
/** Calls of kubectl at once for many clusters: each may ask 50 times a second, so together they ask as often as the operator may. */
const AT_ONCE = 4;
const WRITES = new Set(['create', 'update', 'patch', 'apply', 'delete']);
const SYSTEM = 'bench-operator';
/** What clusters are made of beside Secrets. */
const kinds: readonly ResourceType[] = [
  resourceTypes.configMaps,
  resourceTypes.services,
  resourceTypes.serviceAccounts,
  resourceTypes.persistentVolumeClaims,
  resourceTypes.deployments,
  resourceTypes.daemonSets,
  resourceTypes.ingresses,
];

const own = existsSync(process.env.KUBETEST ?? '../shared/tools/kubetest');
if (!own && !(process.env.KUBECONFIG && process.env.BMS_TEST_CLUSTER === '1')) {
  console.error('bench:operator needs kubetest (set KUBETEST to its path), or a cluster to write to: KUBECONFIG=… BMS_TEST_CLUSTER=1');
  process.exit(2);
}
const folder = mkdtempSync(join(tmpdir(), 'bench-operator-'));
const server = own ? await startKubetest({ controllersPerSecond: CONTROLLERS_PER_SECOND }) : undefined;
const kubeconfig = server?.kubeconfig ?? process.env.KUBECONFIG ?? '';
const transport = clientNodeTransport(loadKubeConfig({ file: kubeconfig }), nodeClock);
const api: KubeApi = httpApi({ transport, clock: nodeClock, throttle: { perSecond: 500, burst: 500 } });
/** What is waited for is watched, the same way for both sides: asking again and again would be most of what the API server does. */
const watching = new AbortController();
const watched = (type: ResourceType): Informer => createInformer({ api, type, clock: nodeClock, random: nodeRandom, logger: silentLogger });
const clusters = watched(clusterType);
const deployments = watched(resourceTypes.deployments);
const daemonSets = watched(resourceTypes.daemonSets);
const namespaces = watched(resourceTypes.namespaces);

let operator: OperatorProgram | undefined;
const kubelet = await startFakeKubelet(api, undefined);
try {
  await installKinds(api);
  for (const informer of [clusters, deployments, daemonSets, namespaces]) informer.run(watching.signal).catch(() => undefined);
  await namespace(SYSTEM);
  const program = await bundle();
  const controllers = own ? `, controllers ${CONTROLLERS_PER_SECOND} requests a second each` : '';
  console.log(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model}), ${kubectlVersion()}${controllers}\n`);
  operator = await startOperatorProgram({ kubeconfig, namespace: SYSTEM, program });
  const empty = operator.rssMib();
  await installOf('warm-up');
  await one(operator);
  await operator.stop();
  operator = await startOperatorProgram({ kubeconfig, namespace: SYSTEM, program });
  await many(operator, empty);
} finally {
  await operator?.stop();
  await kubelet.stop();
  watching.abort(new Error('the end'));
  await transport.close();
  server?.remove();
  rmSync(folder, { recursive: true });
}

/** One cluster at a time: the operator, kubectl at once, kubectl by layers, in turns. */
async function one(running: OperatorProgram): Promise<void> {
  const installs: Installation[] = [];
  const passes: number[] = [];
  const kubectlAll: Applied[] = [];
  const kubectlLayers: Applied[] = [];
  const noops: number[] = [];
  let objects = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const name = `one-${round}`;
    installs.push(await installOf(name));
    passes.push(await passOf(running, name));
    const layers = await objectsOf(name);
    objects = layers.flat().length;
    await removed(name);

    const all = `all-${round}`;
    kubectlAll.push(await appliedBy(all, [moved(layers.flat(), all)]));
    const start = nodeClock.monotonic();
    await kubectlApply(all);
    noops.push((nodeClock.monotonic() - start) / 1000);
    await removed(all);

    const layered = `layered-${round}`;
    kubectlLayers.push(
      await appliedBy(
        layered,
        layers.map((layer) => moved(layer, layered)),
      ),
    );
    await removed(layered);
  }
  const [ours, all, layered] = [median(installs, 'apply'), median(kubectlAll, 'apply'), median(kubectlLayers, 'apply')];
  console.log(
    `A cluster is every component that this server can run: ${median(installs, 'components')}, of ${objects} objects. Medians of ${ROUNDS} rounds.\n`,
  );
  table(
    ['one cluster', 's within passes or kubectl', 's to Ready', 'API writes', 'operator to Ready'],
    [
      [
        'operator, layer by layer',
        f(ours),
        f(median(installs, 'total')),
        `${median(installs, 'writes')}, ${median(installs, 'applies')} of them applies`,
        '',
      ],
      [
        'kubectl apply, at once',
        f(all),
        f(median(kubectlAll, 'total')),
        String(objects),
        x(median(installs, 'total') / median(kubectlAll, 'total')),
      ],
      [
        'kubectl apply, layer by layer',
        f(layered),
        f(median(kubectlLayers, 'total')),
        String(objects),
        x(median(installs, 'total') / median(kubectlLayers, 'total')),
      ],
    ],
  );
  table(
    ['nothing to change', 's', 'requests', 'of kubectl'],
    [
      ['operator, one pass', f(medianOf(passes), 4), '0', x(medianOf(passes) / medianOf(noops))],
      ['kubectl apply', f(medianOf(noops)), `${objects} and more`, ''],
    ],
  );
}

/** All clusters at once: then an idle time, memory and latency. */
async function many(running: OperatorProgram, empty: number): Promise<void> {
  const names = Array.from({ length: CLUSTERS }, (_, index) => `many-${index}`);
  const single = 'single';
  await installOf(single);
  const withOne = running.rssMib();
  const layers = await objectsOf(single);
  await removed(single);

  await Promise.all(names.map((name) => namespace(name)));
  const [atStart, cpuBefore] = [await running.metrics(), running.cpuSeconds()];
  const start = nodeClock.monotonic();
  await Promise.all(names.map((name) => api.create(clusterType, clusterObject({ namespace: name, name: 'default' }, loadSpec()))));
  await Promise.all(names.map((name) => runs(name)));
  const total = (nodeClock.monotonic() - start) / 1000;
  const cpu = running.cpuSeconds() - cpuBefore;
  await settled(running);
  const after = await running.metrics();
  const writes = writesIn(after) - writesIn(atStart);
  const withMany = running.rssMib();
  const held = (q: number): string => f(after.quantile('operator_api_throttle_seconds', q, atStart), 3);
  const latency = (q: number): string => f(after.quantile('operator_reconcile_seconds', q, atStart), 3);
  const wait = (q: number): string => f(after.quantile('operator_queue_wait_seconds', q, atStart), 3);

  const idle = await idleOf(running, names);
  await running.stop();
  await Promise.all(names.map((name) => removed(name)));

  // kubectl with the same objects, some calls at once
  const copies = names.map((name) => `k-${name}`);
  for (const copy of copies) writeManifests(copy, [moved(layers.flat(), copy)]);
  await Promise.all(copies.map((copy) => namespace(copy)));
  const kubectlStart = nodeClock.monotonic();
  await spread(copies, (copy) => kubectlApply(copy));
  const kubectlApplied = (nodeClock.monotonic() - kubectlStart) / 1000;
  const wanted = copies.flatMap((copy) =>
    moved(
      layers.flat().filter(({ kind }) => kind === 'Deployment' || kind === 'DaemonSet'),
      copy,
    ),
  );
  await eventually(() => isReady(wanted), 'all are ready', 1_800_000);
  const kubectlTotal = (nodeClock.monotonic() - kubectlStart) / 1000;
  if (!own) await Promise.all(copies.map((copy) => removed(copy)));

  const objects = layers.flat().length * CLUSTERS;
  table(
    [`${CLUSTERS} clusters at once, ${objects} objects`, 's to Ready', 'API writes', 'of kubectl'],
    [
      ['operator', f(total, 0), String(writes), x(total / kubectlTotal)],
      [`kubectl apply, ${AT_ONCE} calls at once`, `${f(kubectlTotal, 0)}, applied after ${f(kubectlApplied, 0)}`, String(objects), ''],
    ],
  );
  table(
    [`the operator meanwhile`, ''],
    [
      ['CPU s', f(cpu, 0)],
      ['a pass, p50 / p99 s', `${latency(0.5)} / ${latency(0.99)}`],
      ['a key waits for a worker, p50 / p99 s', `${wait(0.5)} / ${wait(0.99)}`],
      ['requests held back by its own limit, p50 / p99 s', `${held(0.5)} / ${held(0.99)}`],
      [`resident MiB: no cluster / 1 / ${CLUSTERS}`, `${empty.toFixed(0)} / ${withOne.toFixed(0)} / ${withMany.toFixed(0)}`],
    ],
  );
  table(
    [`idle, ${CLUSTERS} clusters`, `in ${IDLE_SECONDS} s`, 'in an hour'],
    [
      ['renewals of the Lease', String(idle.leases), hourly(idle.leases)],
      [`other writes of the operator, in ${idle.passes} passes`, String(idle.others), hourly(idle.others)],
      ['writes of everybody else but for events, by the API server’s count', String(idle.foreign), hourly(idle.foreign)],
      ['the operator’s CPU, % of a core', f(idle.cpu), ''],
    ],
  );
}

interface Installation {
  /** Seconds that passes took. */
  readonly apply: number;
  /** Seconds from the creation of the object until everything was ready. */
  readonly total: number;
  readonly writes: number;
  readonly applies: number;
  readonly components: number;
}

async function installOf(name: string): Promise<Installation> {
  if (operator === undefined) throw new Error('no operator');
  await namespace(name);
  await settled(operator);
  const before = await operator.metrics();
  const start = nodeClock.monotonic();
  await api.create(clusterType, clusterObject({ namespace: name, name: 'default' }, loadSpec()));
  await runs(name);
  const total = (nodeClock.monotonic() - start) / 1000;
  await settled(operator);
  const after = await operator.metrics();
  const { components = {} } = await clusterStatus(api, { namespace: name, name: 'default' });
  const since = (metric: string, matches?: Parameters<MetricsPage['sum']>[1]): number =>
    after.sum(metric, matches) - before.sum(metric, matches);
  return {
    apply: since('operator_reconcile_seconds_sum'),
    total,
    writes: writesIn(after) - writesIn(before),
    applies: since('operator_api_requests_total', ({ verb }) => verb === 'apply'),
    components: Object.values(components).filter(({ phase }) => phase !== 'Disabled').length,
  };
}

/** Seconds of one pass over a cluster that is as it should be; the mean of ten. */
async function passOf(running: OperatorProgram, name: string): Promise<number> {
  const before = await running.metrics();
  const count = (page: MetricsPage): number => page.sum('operator_reconcile_seconds_count');
  for (let turn = 1; turn <= 10; turn++) {
    await look(name, `${turn}`);
    await eventually(async () => count(await running.metrics()) >= count(before) + turn, 'the pass');
  }
  await settled(running);
  const after = await running.metrics();
  const writes = writesIn(after) - writesIn(before);
  if (writes > 0) throw new Error(`a pass that should change nothing wrote ${writes} times`);
  return (after.sum('operator_reconcile_seconds_sum') - before.sum('operator_reconcile_seconds_sum')) / (count(after) - count(before));
}

/** Asks for a pass by an annotation that nobody reads. */
async function look(name: string, value: string): Promise<void> {
  const metadata = { annotations: { 'example.org/look': value } };
  await api.patch(clusterType, { namespace: name, name: 'default' }, { metadata }, { fieldManager: 'kubectl-annotate' });
}

interface Idle {
  readonly leases: number;
  readonly others: number;
  readonly foreign: number;
  readonly passes: number;
  readonly cpu: number;
}

/** What six hours of rest bring once, a pass over each cluster, is asked for in the middle. */
async function idleOf(running: OperatorProgram, names: readonly string[]): Promise<Idle> {
  await sleep(nodeClock, 15_000); // endpoints, quotas and the like settle
  const [before, servedBefore, cpuBefore] = [await running.metrics(), await served(), running.cpuSeconds()];
  await sleep(nodeClock, IDLE_SECONDS * 500);
  await Promise.all(names.map((name) => look(name, 'idle')));
  await sleep(nodeClock, IDLE_SECONDS * 500);
  const [after, servedAfter, cpuAfter] = [await running.metrics(), await served(), running.cpuSeconds()];
  const leases = writesIn(after, 'leases') - writesIn(before, 'leases');
  const others = writesIn(after) - writesIn(before);
  return {
    leases,
    others,
    foreign: servedAfter - servedBefore - leases - others - names.length,
    passes: after.sum('operator_reconcile_seconds_count') - before.sum('operator_reconcile_seconds_count'),
    cpu: ((cpuAfter - cpuBefore) / IDLE_SECONDS) * 100,
  };
}

/** Successful writes of whatever client, events apart, as the API server counts them. */
async function served(): Promise<number> {
  const page = new MetricsPage(
    execFileSync('kubectl', ['--kubeconfig', kubeconfig, 'get', '--raw', '/metrics'], { encoding: 'utf8', maxBuffer: 1e9 }),
  );
  return page.sum(
    'apiserver_request_total',
    // events of the controllers come minutes later, a few a second
    ({ verb = '', code = '', resource }) => /^(POST|PUT|PATCH|APPLY|DELETE)$/.test(verb) && code.startsWith('2') && resource !== 'events',
  );
}

/** Writes that the operator asked for; those of its Lease apart. */
function writesIn(page: MetricsPage, of: 'leases' | 'others' = 'others'): number {
  return page.sum('operator_api_requests_total', ({ verb = '', kind }) => WRITES.has(verb) && (kind === 'Lease') === (of === 'leases'));
}

interface Applied {
  /** Seconds within kubectl. */
  readonly apply: number;
  /** Seconds until everything is ready. */
  readonly total: number;
}

/** Applies one file after the other, each when what the ones before brought is ready. */
async function appliedBy(name: string, files: readonly (readonly KubeObject[])[]): Promise<Applied> {
  writeManifests(name, files);
  await namespace(name);
  let apply = 0;
  const start = nodeClock.monotonic();
  for (const [index, objects] of files.entries()) {
    const begun = nodeClock.monotonic();
    await kubectlApply(join(name, `${index}.json`));
    apply += nodeClock.monotonic() - begun;
    await eventually(() => isReady(objects), `layer ${index} of ${name}`, 600_000);
  }
  return { apply: apply / 1000, total: (nodeClock.monotonic() - start) / 1000 };
}

function writeManifests(name: string, files: readonly (readonly KubeObject[])[]): void {
  mkdirSync(join(folder, name), { recursive: true });
  for (const [index, items] of files.entries()) {
    writeFileSync(join(folder, name, `${index}.json`), JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  }
}

async function kubectlApply(path: string): Promise<void> {
  const args = ['--kubeconfig', kubeconfig, 'apply', '--server-side', '--cache-dir', join(folder, 'cache'), '-f', join(folder, path)];
  const child = spawn('kubectl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`kubectl apply: ${errors}`);
}

/** What the operator applied for a cluster, by layers, as it stood in its requests; its Secrets, which it creates, come first. */
async function objectsOf(name: string): Promise<KubeObject[][]> {
  const { items } = await api.list(resourceTypes.secrets, { namespace: name, labelSelector: INSTANCE_LABEL });
  const secrets = items.map(({ apiVersion, kind, metadata, data, type }) => ({
    apiVersion,
    kind,
    metadata: { name: metadata.name, namespace: name, ...(metadata.labels && { labels: metadata.labels }) },
    data,
    type,
  }));
  const live = await Promise.all(
    kinds.map(async (type) => (await api.list(type, { namespace: name, labelSelector: INSTANCE_LABEL })).items),
  );
  const there = new Map(live.flat().map((object) => [`${object.kind} ${keyOf(object)}`, object]));
  const components = clusterManifests(loadSpec() as unknown as ClusterSpec, {
    name: 'default',
    namespace: name,
    instance: defaultInstance('default'),
  });
  const layers: KubeObject[][] = [];
  for (const { layer, manifests } of components) {
    const place = layers[layer] ?? [];
    layers[layer] = place;
    for (const manifest of manifests as readonly KubeObject[]) {
      const found = there.get(`${manifest.kind} ${keyOf(manifest)}`);
      if (found === undefined) continue; // this server does not serve the kind
      const labels = { ...manifest.metadata.labels, [INSTANCE_LABEL]: defaultInstance('default') };
      // the annotations that the operator adds are part of what it sends, and replicas depend on the nodes that are there
      const spec =
        manifest.kind === 'Deployment'
          ? { ...(manifest.spec as object), replicas: (found.spec as { replicas: number }).replicas }
          : manifest.spec;
      const annotations = { ...manifest.metadata.annotations, ...found.metadata.annotations };
      delete annotations['deployment.kubernetes.io/revision'];
      place.push({ ...manifest, metadata: { ...manifest.metadata, labels, annotations }, ...(spec !== undefined && { spec }) });
    }
  }
  const [first = [], ...rest] = layers;
  return [[...secrets, ...first], ...rest];
}

/** The same in another namespace. */
function moved(objects: readonly KubeObject[], to: string): KubeObject[] {
  return objects.map((object) => {
    const from = object.metadata.namespace ?? '';
    const text = JSON.stringify(object).replaceAll(`"namespace":"${from}"`, `"namespace":"${to}"`);
    return JSON.parse(text) as KubeObject;
  });
}

function isReady(objects: readonly KubeObject[]): boolean {
  return objects.every((object) => {
    const informer = object.kind === 'Deployment' ? deployments : object.kind === 'DaemonSet' ? daemonSets : undefined;
    const live = informer?.store.get(keyOf(object));
    return informer === undefined || (live !== undefined && readinessOf(live).state === 'ready');
  });
}

async function namespace(name: string): Promise<void> {
  const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
  await api.create(resourceTypes.namespaces, object).catch((error: unknown) => {
    if (!isApiError(error, 'already-exists')) throw error;
  });
}

/** A cluster, and the namespace around it. */
async function removed(name: string): Promise<void> {
  const there = await api.get(resourceTypes.namespaces, { name }).catch(() => undefined);
  if (there === undefined) return;
  const key = { namespace: name, name: 'default' };
  const cluster = await api.get(clusterType, key).catch(() => undefined);
  if (cluster) {
    await api.delete(clusterType, key);
    // without the operator, or faster than it
    await api.patch(clusterType, key, { metadata: { finalizers: null } }).catch(() => undefined);
  }
  await api.delete(resourceTypes.namespaces, { name });
  await eventually(() => namespaces.store.get(keyOf({ metadata: { name } })) === undefined, `${name} is gone`, 600_000);
}

async function runs(name: string): Promise<void> {
  const key = keyOf({ metadata: { namespace: name, name: 'default' } });
  await eventually(() => textAt(clusters.store.get(key), 'status', 'phase') === 'Running', `the cluster in ${name} runs`, 1_800_000);
}

/** No pass has begun for a second. */
async function settled(running: OperatorProgram): Promise<void> {
  let seen = -1;
  await eventually(
    async () => {
      const page = await running.metrics();
      const count = page.sum('operator_reconcile_total');
      const quiet = count === seen && page.sum('operator_reconcile_running') === 0 && page.sum('operator_queue_depth') === 0;
      seen = count;
      if (!quiet) await sleep(nodeClock, 1_000);
      return quiet;
    },
    'the operator rests',
    120_000,
  );
}

/** The program of the image's bundle, but for where its settings come from. */
async function bundle(): Promise<string[]> {
  const outfile = join(folder, 'operator.cjs');
  await build({
    entryPoints: ['test/operator/load/operator-process.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    minifySyntax: true,
    logLevel: 'warning',
  });
  return [...operatorProgram.command.slice(1, -1), '--max-old-space-size=256', outfile]; // what Node allows itself in the 512 MiB of its pod
}

async function spread<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const waiting = [...all];
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await work(next);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

function kubectlVersion(): string {
  const text = execFileSync('kubectl', ['version', '--kubeconfig', kubeconfig, '-o', 'json'], { encoding: 'utf8' });
  const { clientVersion, serverVersion } = JSON.parse(text) as Record<'clientVersion' | 'serverVersion', { gitVersion: string }>;
  return `kubectl ${clientVersion.gitVersion}, API server ${serverVersion.gitVersion}`;
}

function medianOf(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

function median<K extends string>(rows: readonly Readonly<Record<K, number>>[], field: K): number {
  return medianOf(rows.map((row) => row[field]));
}

function f(value: number, digits = 2): string {
  return value.toFixed(digits);
}

function x(ratio: number): string {
  return `${ratio.toFixed(ratio < 0.1 ? 3 : 2)}×`;
}

function hourly(count: number): string {
  return String(Math.round((count * 3600) / IDLE_SECONDS));
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): void {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  console.log([line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n'));
  console.log();
}
