/** What `tgtadm --op show --mode target` prints, as data: pure. */
export interface TgtTarget {
  readonly tid: number;
  readonly name: string;
  /** LUN 0, tgt's own controller, is left out. */
  readonly luns: readonly { readonly lun: number; readonly backingStore: string | undefined }[];
  /** Addresses of initiators that may log in, or `ALL`. */
  readonly allowed: readonly string[];
  /** Initiators that are logged in. */
  readonly initiators: readonly string[];
}

interface Draft {
  readonly tid: number;
  readonly name: string;
  readonly luns: { lun: number; backingStore: string | undefined }[];
  readonly allowed: string[];
  readonly initiators: string[];
}

/** Lines that are not known are passed over: versions of tgt differ in what they add. */
export function parseTargets(output: string): TgtTarget[] {
  const targets: Draft[] = [];
  let section = '';
  for (const line of output.split('\n')) {
    const header = /^Target (\d+): (\S+)/.exec(line);
    if (header) {
      targets.push({ tid: Number(header[1]), name: header[2] ?? '', luns: [], allowed: [], initiators: [] });
      section = '';
      continue;
    }
    const target = targets.at(-1);
    if (target === undefined) continue;
    const title = /^ {4}(\S.*):\s*$/.exec(line);
    if (title) {
      section = title[1] ?? '';
      continue;
    }
    readLine(target, section, line);
  }
  return targets.map((target) => ({ ...target, luns: target.luns.filter(({ lun }) => lun !== 0) }));
}

function readLine(target: Draft, section: string, line: string): void {
  const text = line.trim();
  if (text === '') return;
  if (section === 'LUN information') {
    const lun = /^LUN: (\d+)$/.exec(text);
    if (lun) target.luns.push({ lun: Number(lun[1]), backingStore: undefined });
    const path = /^Backing store path: (.*)$/.exec(text)?.[1];
    const last = target.luns.at(-1);
    // "None" is the controller's; a path has a slash in it
    if (path?.includes('/') && last !== undefined) last.backingStore = path;
  } else if (section === 'ACL information') {
    if (/^(?:ALL|[0-9a-f:.]+(?:\/\d+)?)$/i.test(text)) target.allowed.push(text);
  } else if (section === 'I_T nexus information') {
    const initiator = /^Initiator: (\S+)/.exec(text)?.[1];
    if (initiator !== undefined) target.initiators.push(initiator);
  }
}
