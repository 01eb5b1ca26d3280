/** Volumes as container engines write them: "source:target:mode", "name:target", "target". */

export interface VolumeString {
  /** A path of the host, the name of a volume, or nothing: a volume of the container's own. */
  readonly kind: 'host' | 'named' | 'anonymous';
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** How mounts made below it travel between host and container. */
  readonly propagation: 'HostToContainer' | 'Bidirectional' | undefined;
}

const PROPAGATION: Readonly<Record<string, VolumeString['propagation']>> = {
  shared: 'Bidirectional',
  rshared: 'Bidirectional',
  slave: 'HostToContainer',
  rslave: 'HostToContainer',
  private: undefined,
  rprivate: undefined,
};
/** z and Z relabel for SELinux, which the kubelet does by itself; the others are how Docker Desktop caches. */
const WITHOUT_MEANING = ['rw', 'z', 'Z', 'cached', 'delegated', 'consistent', 'nocopy'];

/** Undefined when `text` is no such string. */
export function parseVolume(text: string): VolumeString | undefined {
  const [first = '', second, mode = '', ...rest] = text.split(':');
  if (rest.length > 0) return undefined;
  const target = normalize(second ?? first);
  if (target === undefined) return undefined;
  const source = second === undefined ? '' : first;
  const kind = second === undefined ? 'anonymous' : source.startsWith('/') ? 'host' : 'named';
  if (kind === 'named' && !/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(source)) return undefined;
  const options = mode === '' ? [] : mode.split(',');
  if (options.some((option) => option !== 'ro' && !(option in PROPAGATION) && !WITHOUT_MEANING.includes(option))) return undefined;
  return {
    kind,
    source: kind === 'host' ? (normalize(source) ?? source) : source,
    target,
    readOnly: options.includes('ro'),
    propagation: options.map((option) => PROPAGATION[option]).find((found) => found !== undefined),
  };
}

/** An absolute path without a slash at its end. */
function normalize(path: string): string | undefined {
  if (!path.startsWith('/') || path.split('/').includes('..')) return undefined;
  return path.replaceAll(/\/+/g, '/').replace(/(?<=.)\/$/, '');
}

/** A name for a volume at `path` that Kubernetes takes, at most 63 characters. */
export function volumeName(path: string): string {
  const name = path
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');
  return name.slice(0, 63).replace(/-+$/, '') || 'root';
}
