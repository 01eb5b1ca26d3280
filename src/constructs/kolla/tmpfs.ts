/** "/run", "/tmp:size=64m,mode=1777": memory as a file system. */

export interface Tmpfs {
  readonly path: string;
  /** As a Kubernetes quantity. */
  readonly size: string | undefined;
}

const SIZE = /^(?<number>\d+)(?<unit>[kmg]?)$/i;
const UNITS: Readonly<Record<string, string>> = { '': '', k: 'Ki', m: 'Mi', g: 'Gi' };
/** What an emptyDir in memory is in any case. */
const FLAGS = /^(?:rw|nosuid|nodev|noexec|mode=[0-7]{3,4})$/;

/** Undefined when `text` is none, or asks for what an emptyDir cannot be. */
export function parseTmpfs(text: string): Tmpfs | undefined {
  const [path = '', options = '', ...rest] = text.split(':');
  if (!path.startsWith('/') || rest.length > 0) return undefined;
  let size: string | undefined;
  for (const option of options === '' ? [] : options.split(',')) {
    const groups = option.startsWith('size=') ? SIZE.exec(option.slice('size='.length))?.groups : undefined;
    if (groups) size = `${groups.number}${UNITS[groups.unit?.toLowerCase() ?? '']}`;
    else if (!FLAGS.test(option)) return undefined;
  }
  return { path: path.replace(/(?<=.)\/+$/, ''), size };
}
