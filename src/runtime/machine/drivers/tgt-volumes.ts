/**
 * Volumes as files or block devices of this management node, exported over iSCSI by tgt: a target per volume, LUN 1, and only the machine's own
 * address may log in. The name of a target follows from the instance and the mount point alone, so that every call finds what an earlier one,
 * perhaps of a process that died, has left.
 */
import { machineErrors } from '../errors.ts';
import type { NodeRecord } from '../node-record.ts';
import type { VolumeDriver } from '../ports.ts';
import type { CommandRunner } from './command-runner.ts';
import { parseTargets, type TgtTarget } from './tgt-output.ts';

export interface TgtVolumesOptions {
  readonly runner: CommandRunner;
  /** Where the volume of this id lies; rejects when there is none. The composition root checks the id: it becomes a path. */
  readonly pathOf: (volume: string) => Promise<string>;
  /** [baremetal] iscsi_iqn_prefix. */
  readonly iqnPrefix: string;
  /** [baremetal] use_unsafe_iscsi: any initiator may log in where the machine's address is not known. Default: refused. */
  readonly unsafe?: boolean;
  /** Of tgtadm, e.g. PATH and TGT_IPC_SOCKET. */
  readonly environment?: Readonly<Record<string, string>>;
}

const LUN = '1';
/** Others may create targets meanwhile and take the number that we chose. */
const CREATE_TRIES = 5;
const DEFAULT_ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

export class TgtVolumes implements VolumeDriver {
  readonly #options: TgtVolumesOptions;
  /** One at a time: numbers of targets are chosen by looking. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: TgtVolumesOptions) {
    this.#options = options;
  }

  async attach(node: NodeRecord, signal: AbortSignal): Promise<void> {
    for (const volume of node.instance?.volumes ?? []) await this.attachVolume(node, volume, signal);
  }

  /** Every one is tried, whatever fails. */
  async detach(node: NodeRecord, signal: AbortSignal): Promise<void> {
    const errors: unknown[] = [];
    for (const volume of node.instance?.volumes ?? []) {
      try {
        await this.detachVolume(node, volume, signal);
      } catch (error) {
        signal.throwIfAborted();
        errors.push(error);
      }
    }
    if (errors.length > 0)
      throw new AggregateError(errors, errors.map((error) => (error instanceof Error ? error.message : String(error))).join('; '));
  }

  attachVolume(node: NodeRecord, volume: string, signal: AbortSignal): Promise<void> {
    return this.#alone(async () => {
      const path = await this.#options.pathOf(volume);
      const allowed = this.#initiators(node, volume);
      const name = targetName(this.#options.iqnPrefix, node, volume);
      const found = (await this.#targets(signal)).find((target) => target.name === name);
      const other = found && otherThan(found, path);
      if (other !== undefined)
        throw permanent(machineErrors.MACHINE_VOLUME({ volume, reason: `the target ${name} exports ${other} already` }));
      const target = found ?? (await this.#create(name, signal));
      if (target.luns.length === 0) {
        await this.#admin(['--op', 'new', '--mode', 'logicalunit', ...tid(target), '--lun', LUN, '-b', path], signal);
      }
      // First who may no longer, then who may: never both.
      for (const address of target.allowed) if (!allowed.includes(address)) await this.#bind('unbind', target, address, signal);
      for (const address of allowed) if (!target.allowed.includes(address)) await this.#bind('bind', target, address, signal);
    });
  }

  detachVolume(node: NodeRecord, volume: string, signal: AbortSignal): Promise<void> {
    return this.#alone(async () => {
      const name = targetName(this.#options.iqnPrefix, node, volume);
      const target = (await this.#targets(signal)).find((known) => known.name === name);
      if (target === undefined) return;
      // Names of instances are not unique: what is exported may be the volume of another one, which is in use.
      const path = await this.#options.pathOf(volume).catch(() => undefined);
      if (path !== undefined && otherThan(target, path) !== undefined) return;
      for (const address of target.allowed) await this.#bind('unbind', target, address, signal);
      // Also from under an initiator that is logged in: it is powered off, or was told to let go.
      await this.#admin(['--op', 'delete', '--force', '--mode', 'target', ...tid(target)], signal);
      if ((await this.#targets(signal)).some((known) => known.name === name)) {
        throw machineErrors.MACHINE_VOLUME({ volume, reason: `the target ${name} is still there after its deletion` });
      }
    });
  }

  #initiators(node: NodeRecord, volume: string): string[] {
    const known = [...node.interfaces.map(({ address }) => address), node.lease?.address].filter((address) => address !== undefined);
    if (known.length > 0) return [...new Set(known)];
    if (this.#options.unsafe) return ['ALL'];
    const reason = 'no address of the machine is known: reserve one for its interface, or attach the volume once the instance runs';
    throw permanent(machineErrors.MACHINE_VOLUME({ volume, reason }));
  }

  async #create(name: string, signal: AbortSignal): Promise<TgtTarget> {
    for (let tries = 1; ; tries++) {
      const targets = await this.#targets(signal);
      const next = Math.max(0, ...targets.map((target) => target.tid)) + 1;
      try {
        await this.#admin(['--op', 'new', '--mode', 'target', '--tid', String(next), '-T', name], signal);
        return { tid: next, name, luns: [], allowed: [], initiators: [] };
      } catch (error) {
        signal.throwIfAborted();
        if (tries >= CREATE_TRIES) throw error;
      }
    }
  }

  #bind(op: 'bind' | 'unbind', target: TgtTarget, address: string, signal: AbortSignal): Promise<string> {
    return this.#admin(['--op', op, '--mode', 'target', ...tid(target), '-I', address], signal);
  }

  async #targets(signal: AbortSignal): Promise<TgtTarget[]> {
    return parseTargets(await this.#admin(['--op', 'show', '--mode', 'target'], signal));
  }

  async #admin(args: readonly string[], signal: AbortSignal): Promise<string> {
    const { runner, environment } = this.#options;
    const all = ['--lld', 'iscsi', ...args];
    const result = await runner.run({ program: 'tgtadm', args: all, environment: { ...DEFAULT_ENVIRONMENT, ...environment }, signal });
    if (result.exitCode === 0) return result.stdout;
    const reason = result.stderr.trim() || `exit code ${result.exitCode ?? 'none'}`;
    throw machineErrors.MACHINE_PROGRAM({ program: `tgtadm ${args.join(' ')}`, reason });
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/** `<prefix>:<instance name>-<mount point>` as in the original; the volume's id where no mount point is known. RFC 7143 names are lower-case. */
export function targetName(prefix: string, node: NodeRecord, volume: string): string {
  const place = node.instance?.mountpoints?.[volume] ?? volume;
  const clean = (text: string): string =>
    text
      .toLowerCase()
      .replaceAll(/[^a-z0-9.-]+/g, '-')
      .replaceAll(/^-+|-+$/g, '');
  return `${prefix}:${clean(node.instance?.name ?? node.name)}-${clean(place)}`;
}

function otherThan(target: TgtTarget, path: string): string | undefined {
  return target.luns.find(({ backingStore }) => backingStore !== undefined && backingStore !== path)?.backingStore;
}

function tid(target: TgtTarget): string[] {
  return ['--tid', String(target.tid)];
}

function permanent(error: Error): Error {
  return Object.assign(error, { permanent: true });
}
