/** The Docker API's limits as requests and limits. */
import { type CodedError, nearest } from 'cdk8s-baremetal-contract';
import { k8s } from 'cdk8s-plus-28';
import { kollaErrors } from './errors.ts';

const MEMORY = /^(?<number>\d+)(?<unit>[bkmg]?)b?$/i;
const UNITS: Readonly<Record<string, string>> = { '': '', b: '', k: 'Ki', m: 'Mi', g: 'Gi' };
const KNOWN = ['mem_limit', 'mem_reservation', 'cpus', 'cpu_period', 'cpu_quota', 'cpu_shares'];
/** Left to the node by Kubernetes. */
const WITHOUT_FIELD: Readonly<Record<string, string>> = {
  memswap_limit: 'Leave it out: the kubelet decides about swap (memorySwap in its configuration)',
  kernel_memory: 'Leave it out: the memory limit counts it',
  blkio_weight: 'Leave it out, or use a runtime class',
  cpuset_cpus: 'Leave it out: give whole CPUs as request and limit, and let the CPU manager of the kubelet pin them',
  cpuset_mems: "Leave it out: the kubelet's topology manager places memory",
  ulimits: 'Leave it out: set the limits of the container runtime on the node',
};
const CPU_PERIOD_US = 100_000;
/** Docker's weight of one CPU. */
const SHARES_PER_CPU = 1024;

type Given = Readonly<Record<string, unknown>>;

export function checkDimensions(dimensions: Given, at: string): CodedError[] {
  return Object.entries(dimensions).flatMap(([key, value]) => {
    const place = `${at}.dimensions.${key}`;
    const cure = WITHOUT_FIELD[key];
    if (isEmpty(value)) return [];
    if (cure !== undefined) return [kollaErrors.KOLLA_NO_SUCH_FIELD({ at: place, what: `${key} ${JSON.stringify(value)}`, cure })];
    if (!KNOWN.includes(key))
      return [kollaErrors.KOLLA_KEY_UNKNOWN({ at: `${at}.dimensions`, key, nearest: nearest(key, KNOWN), known: KNOWN })];
    const isMemory = key.startsWith('mem_');
    const good = isMemory ? memory(value) !== undefined : Number(value) > 0;
    const rule = isMemory ? 'must be bytes, or a number with b, k, m or g' : 'must be a number above 0';
    return good ? [] : [kollaErrors.KOLLA_VALUE({ at: place, value: JSON.stringify(value), rule })];
  });
}

export function resourcesOf(dimensions: Given): k8s.ResourceRequirements | undefined {
  const { mem_limit, mem_reservation, cpus, cpu_quota, cpu_period, cpu_shares } = dimensions;
  const milli = (cores: number): string => `${Math.max(1, Math.round(cores * 1000))}m`;
  const quota = isEmpty(cpu_quota) ? undefined : Number(cpu_quota) / (isEmpty(cpu_period) ? CPU_PERIOD_US : Number(cpu_period));
  const most = isEmpty(cpus) ? quota : Number(cpus);
  // shares are a weight, and may stand above the limit; a request may not
  const asked = isEmpty(cpu_shares) ? undefined : Math.min(Number(cpu_shares) / SHARES_PER_CPU, most ?? Number.POSITIVE_INFINITY);
  const limits = amounts({ cpu: most === undefined ? undefined : milli(most), memory: memory(mem_limit) });
  const requests = amounts({ cpu: asked === undefined ? undefined : milli(asked), memory: memory(mem_reservation) });
  if (!limits && !requests) return undefined;
  return { ...(limits && { limits }), ...(requests && { requests }) };
}

function amounts(texts: Readonly<Record<string, string | undefined>>): Record<string, k8s.Quantity> | undefined {
  const given = Object.entries(texts).flatMap(([name, text]) =>
    text === undefined ? [] : [[name, k8s.Quantity.fromString(text)] as const],
  );
  return given.length > 0 ? Object.fromEntries(given) : undefined;
}

function memory(value: unknown): string | undefined {
  const groups = MEMORY.exec(String(value ?? ''))?.groups;
  return groups && Number(groups.number) > 0 ? `${groups.number}${UNITS[groups.unit?.toLowerCase() ?? '']}` : undefined;
}

function isEmpty(value: unknown): boolean {
  return (
    value === undefined ||
    value === '' ||
    value === 0 ||
    value === '0' ||
    (typeof value === 'object' && value !== null && Object.keys(value).length === 0)
  );
}
