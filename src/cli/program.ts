/** bmctl's commands, over whatever surroundings it is given. */
import { CodedError } from 'cdk8s-baremetal-contract';
import { Command, CommanderError } from 'commander';
import { apiClient, clientErrors } from './api-client.ts';
import { registerBmc } from './commands/bmc.ts';
import { registerCatalog } from './commands/catalog.ts';
import { registerCompletion } from './commands/completion.ts';
import { registerConsole } from './commands/console.ts';
import { registerEnrol } from './commands/enrol.ts';
import { registerLocal } from './commands/local.ts';
import { registerNotification } from './commands/notification.ts';
import { registerPower } from './commands/power.ts';
import { registerPreflight } from './commands/preflight.ts';
import { registerSel } from './commands/sel.ts';
import { registerSensors } from './commands/sensors.ts';
import { registerUpdate } from './commands/update.ts';
import { registerWatch } from './commands/watch.ts';
import { registerWork } from './commands/work.ts';
import { ExitError, exitCode, exitCodeOf } from './exit-codes.ts';
import { readNamedFile } from './named-file.ts';
import { bootReport, type CommandContext, explainMac, nodeDiagnose, nodeList, nodeShow, nodeTimeline } from './node-commands.ts';
import { checkedToken, readSecret, secretErrors } from './secret-input.ts';
import type { Surroundings } from './surroundings.ts';

interface GlobalFlags {
  readonly api: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly json?: boolean;
}

const NODE = 'name, UUID, number or MAC address';

export function buildProgram(world: Surroundings): Command {
  const program = new Command('bmctl')
    .description('Looks at and works with the machines of bms-core.')
    .option('--api <url>', "address of bms-core's API", world.env.BMCTL_API ?? 'http://127.0.0.1:7081')
    .option('--token-file <file>', 'whose content is a token of the API; or BMCTL_TOKEN')
    .option('--ca <file>', 'certificate authorities to trust for https, in PEM', world.env.BMCTL_CA)
    .option('--json', 'print JSON: what the API answers')
    .showHelpAfterError()
    .exitOverride();

  const context = async (): Promise<CommandContext> => {
    const { api: base, tokenFile, ca, json } = program.opts<GlobalFlags>();
    const given = await readSecret(world, tokenFile, 'BMCTL_TOKEN');
    const token = tokenFile === undefined && given?.reveal() === '' ? undefined : given; // an empty variable is none
    const { network, clock, random } = world;
    const api = apiClient({
      base,
      network,
      clock,
      random,
      ...(token && { token: checkedToken(token, tokenFile ?? 'BMCTL_TOKEN') }),
      ...(ca !== undefined && { ca: authorities(ca) }),
    });
    return { ...world, api, asJson: json === true };
  };

  // `bmctl node list` and `bmctl list` are the same
  for (const parent of [program.command('node').description('machines: the same as list, show, timeline and diagnose'), program]) {
    parent
      .command('list')
      .description('every machine with its state, and why it is in it')
      .option('--state <states>', 'in one of these, comma-separated')
      .option('--name <text>', 'whose names contain this')
      .option('--free', 'without an instance')
      .option('--maintenance', 'in maintenance')
      .action(async ({ state, name, free, maintenance }: { state?: string; name?: string; free?: true; maintenance?: true }) =>
        nodeList(await context(), {
          ...(state !== undefined && { state }),
          ...(name !== undefined && { name }),
          ...(free && { free: 'true' }),
          ...(maintenance && { maintenance: 'true' }),
        }),
      );
    parent
      .command('show')
      .description('one machine: state, hardware, power, instance, last failure, history')
      .argument('<node>', NODE)
      .action(async (key: string) => nodeShow(await context(), key));
    parent
      .command('timeline')
      .description('what was seen of a machine and what was decided')
      .argument('<node>', NODE)
      .action(async (key: string) => nodeTimeline(await context(), key));
    parent
      .command('diagnose')
      .description('how a machine is, and what helps')
      .argument('<node>', NODE)
      .action(async (key: string) => nodeDiagnose(await context(), key));
  }
  program
    .command('explain')
    .description('what a machine would boot now, and why')
    .argument('<machine>', `${NODE}; also a MAC address that is not enrolled`)
    .action(async (key: string) => explainMac(await context(), key));
  program
    .command('boot')
    .description('what is wrong with the provisioning networks, and which machines wanted to boot and are not enrolled')
    .action(async () => bootReport(await context()));
  registerEnrol(program, context);
  registerUpdate(program, context);
  registerCatalog(program, context);
  registerWork(program, context);
  registerWatch(program, context);
  registerNotification(program, context);
  registerPower(program, world, context);
  registerSensors(program, world);
  registerSel(program, world);
  registerConsole(program, world);
  registerBmc(program, world, context);
  registerPreflight(program, world);
  registerLocal(program, world);
  registerCompletion(program, context, world.print);
  // subcommands are made before the settings of the program reach them
  const inherit = (command: Command): void => {
    for (const one of command.commands) inherit(one.copyInheritedSettings(command));
  };
  inherit(program);
  return program;
}

/** Runs one command line (without node and script); gives the exit code. */
export async function runProgram(program: Command, argv: readonly string[], { note, signal }: Surroundings): Promise<number> {
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.done : exitCode.usage; // it has said what is wrong
    if (signal.aborted) return exitCode.interrupted;
    const told = unreadable(error) ?? error;
    note(told instanceof CodedError ? described(told) : told instanceof Error ? told.message : String(told));
    return exitCodeOf(told);
  }
}

/** Node passes over a file of something else, and then trusts nobody. */
function authorities(path: string): string {
  const pem = readNamedFile(path);
  if (!/^-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----/m.test(pem)) throw new ExitError(exitCode.usage, clientErrors.BMCTL_CA({ path }));
  return pem;
}

function described(error: CodedError): string {
  const details = error instanceof ExitError ? error.details.map(({ what, why }) => `${what}: ${why}`) : [];
  // a sentence that holds them already needs no list
  const more = details.filter((line) => !error.message.includes(line));
  return `${error.code}: ${error.message}. ${error.cure}${more.map((line) => `\n  ${line}`).join('')}`;
}

/** A file that somebody named, and that cannot be opened. */
function unreadable(error: unknown): ExitError | undefined {
  if (!(error instanceof Error) || !('syscall' in error) || error.syscall !== 'open' || !('path' in error)) return undefined;
  const why = 'code' in error ? String(error.code) : error.message;
  return new ExitError(exitCode.usage, secretErrors.BMCTL_SECRET_FILE({ path: String(error.path), why }));
}
