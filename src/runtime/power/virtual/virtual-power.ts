/**
 * The PowerManager of virtual machines: libvirt's virsh, VirtualBox's VBoxManage, or any program that knows `status|on|off|soft MACHINE`; here, or through the `ssh`
 * program on another host. Commands are lists of words that are checked to need no quoting, since ssh hands them to a shell over there. ssh logs in by key: with
 * BatchMode it asks nobody for a password, and none could be given to it without showing it.
 */
import type { Logger } from '../../core/logger.ts';
import type { Processes, ProcessOutcome } from '../../core/processes.ts';
import { powerErrors } from '../errors.ts';
import type { PowerManager, PowerState } from '../power-manager.ts';
import type { VirtualTarget, VirtualType } from '../power-url.ts';

export interface VirtualDeps {
  readonly processes: Processes;
  readonly logger: Logger;
  /** Programs that an address may name with type=program. Default: none, since whoever enrols machines is not meant to run programs. */
  readonly programs?: readonly string[] | 'any';
  /** Default 30,000. */
  readonly limitMs?: number;
}

interface Dialect {
  status(machine: string): readonly string[];
  on(machine: string): readonly string[];
  off(machine: string): readonly string[];
  soft(machine: string): readonly string[];
  /** Undefined: the output says neither. */
  parse(stdout: string): PowerState | undefined;
  /** What the tool says of a machine that it does not know. */
  readonly unknown: RegExp;
}

const LIMIT_MS = 30_000;
/** What a POSIX shell leaves as it is. */
const PLAIN_WORD = /^[A-Za-z0-9_@%+=:,./-]+$/;

const DIALECTS: Readonly<Record<VirtualType, Dialect>> = {
  virsh: {
    status: (machine) => ['domstate', machine],
    on: (machine) => ['start', machine],
    off: (machine) => ['destroy', machine], // libvirt's word for pulling the plug; disks stay
    soft: (machine) => ['shutdown', machine],
    parse(stdout) {
      const state = stdout.trim();
      if (/^(?:running|idle|paused|in shutdown|pmsuspended)$/.test(state)) return 'on';
      return /^(?:shut off|crashed)$/.test(state) ? 'off' : undefined;
    },
    unknown: /failed to get domain|Domain not found/i,
  },
  vbox: {
    status: (machine) => ['showvminfo', machine, '--machinereadable'],
    on: (machine) => ['startvm', machine, '--type', 'headless'],
    off: (machine) => ['controlvm', machine, 'poweroff'],
    soft: (machine) => ['controlvm', machine, 'acpipowerbutton'],
    parse(stdout) {
      const state = /^VMState="([a-z-]+)"/m.exec(stdout)?.[1];
      if (state === undefined) return undefined;
      return ['poweroff', 'aborted', 'aborted-saved', 'saved', 'teleported'].includes(state) ? 'off' : 'on';
    },
    unknown: /Could not find a registered machine/i,
  },
  program: {
    status: (machine) => ['status', machine],
    on: (machine) => ['on', machine],
    off: (machine) => ['off', machine],
    soft: (machine) => ['soft', machine],
    parse(stdout) {
      const state = stdout.trim().toLowerCase();
      return state === 'on' || state === 'off' ? state : undefined;
    },
    unknown: /unknown machine/i,
  },
};

export class VirtualPower implements PowerManager {
  readonly #dialect: Dialect;

  /** Throws POWER_URL for a program that is not allowed. */
  constructor(
    private readonly target: VirtualTarget,
    private readonly deps: VirtualDeps,
  ) {
    const { type, program = '', machine } = target;
    const allowed = deps.programs ?? [];
    if (type === 'program' && allowed !== 'any' && !allowed.includes(program))
      throw powerErrors.POWER_URL({ url: `virtual:${machine}`, problem: `the program ${program} is not allowed here` });
    this.#dialect = DIALECTS[type];
  }

  async status(signal?: AbortSignal): Promise<PowerState> {
    const { machine } = this.target;
    const { stdout } = await this.#run('the state', this.#dialect.status(machine), signal);
    const state = this.#dialect.parse(stdout);
    if (state === undefined)
      throw powerErrors.VIRTUAL_FAILED({ machine, what: 'the state', why: `"${firstLine(stdout)}" says neither on nor off` });
    return state;
  }

  on(signal?: AbortSignal): Promise<void> {
    return this.#switch('on', signal);
  }

  off(signal?: AbortSignal): Promise<void> {
    return this.#switch('off', signal);
  }

  async softOff(signal?: AbortSignal): Promise<void> {
    await this.#run('a shutdown', this.#dialect.soft(this.target.machine), signal);
  }

  /** The machine boots in the order of its own definition, where the network has to come first. */
  async setBootDevice(): Promise<void> {
    this.deps.logger.debug({ machine: this.target.machine }, 'VirtualPower knows no boot device');
  }

  async close(): Promise<void> {
    // every command is a program of its own: nothing is held
  }

  /** These tools fail at "on" when on: absolute means that this is success. */
  async #switch(wanted: PowerState, signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#run(`power ${wanted}`, this.#dialect[wanted](this.target.machine), signal);
    } catch (error) {
      if (signal?.aborted || (await this.status(signal)) !== wanted) throw error;
    }
  }

  async #run(what: string, words: readonly string[], signal: AbortSignal | undefined): Promise<ProcessOutcome> {
    const { machine } = this.target;
    const { processes, limitMs = LIMIT_MS } = this.deps;
    const [program = '', ...args] = this.#commandLine(words);
    let outcome: ProcessOutcome;
    try {
      outcome = await processes.run({ program, args, limitMs, signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw powerErrors.VIRTUAL_FAILED({ machine, what, why: error instanceof Error ? error.message : String(error) }, { cause: error });
    }
    if (outcome.exitCode === 0) return outcome;
    const why = firstLine(outcome.stderr) || `exit code ${outcome.exitCode ?? 'none'}`;
    if (this.#dialect.unknown.test(outcome.stderr)) throw powerErrors.VIRTUAL_UNKNOWN({ machine, why });
    throw powerErrors.VIRTUAL_FAILED({ machine, what, why });
  }

  #commandLine(words: readonly string[]): readonly string[] {
    const { ssh, type, program = '', connect } = this.target;
    const tool =
      type === 'virsh' ? ['virsh', ...(connect === undefined ? [] : ['--connect', connect])] : type === 'vbox' ? ['VBoxManage'] : [program];
    const command = [...tool, ...words];
    if (ssh === undefined) return command;
    for (const word of command)
      if (!PLAIN_WORD.test(word))
        throw powerErrors.POWER_URL({ url: `virtual+ssh://${ssh.host}`, problem: `"${word}" would need quotes over there` });
    const options = ['-o', 'BatchMode=yes', '-o', 'ConnectTimeout=10', '-p', String(ssh.port)];
    const who = [...(ssh.user === undefined ? [] : ['-l', ssh.user]), ...(ssh.key === undefined ? [] : ['-i', ssh.key])];
    // C: the words that are looked for are the untranslated ones
    return ['ssh', ...options, ...who, '--', ssh.host, 'env', 'LC_ALL=C', ...command];
  }
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0]?.trim() ?? '';
}
