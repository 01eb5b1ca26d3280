/** bmctl console: a serial terminal on a machine through its BMC (Serial over LAN). */
import { SolConsole } from 'cdk8s-baremetal-runtime/power/ipmi/index';
import type { Command } from 'commander';
import { asking, IPMI_TARGET, type TargetFlags, withIpmi } from '../bmc-target.ts';
import { CONSOLE_HELP } from '../console-keys.ts';
import { ConsoleTyping } from '../console-typing.ts';
import { commandErrors } from '../errors.ts';
import { ExitError, exitCode } from '../exit-codes.ts';
import type { Surroundings } from '../surroundings.ts';

export function registerConsole(program: Command, world: Surroundings): void {
  asking(program.command('console').description(`a serial terminal on a machine, by the URL of its BMC. ${CONSOLE_HELP}`))
    .argument('<url>', IPMI_TARGET)
    .option('--force', 'end the console that somebody else has open')
    .action(async (url: string, flags: TargetFlags & { force?: boolean }) => {
      const { terminal, clock, note, signal } = world;
      if (!terminal) throw new ExitError(exitCode.usage, commandErrors.BMCTL_NO_TERMINAL({}));
      await withIpmi(world, { url, flags, privilege: 'operator', what: 'console' }, async ({ gateway, access }) => {
        const session = await gateway.session(access, signal);
        const options = { session, clock, force: flags.force === true, onData: (data: Uint8Array) => terminal.write(data) };
        const onEvent = (event: 'break' | 'overrun'): void => note(event === 'break' ? '\r[break]\r' : '\r[characters were lost]\r');
        const serial = await SolConsole.open({ ...options, onEvent }, signal);
        note(`Connected. ${CONSOLE_HELP}.`);
        const typing = new ConsoleTyping({ serial, clock, note });
        const restore = terminal.raw((typed) => typing.typed(typed));
        const onAbort = (): void => void serial.close();
        signal.addEventListener('abort', onAbort, { once: true });
        try {
          const lost = await serial.ended;
          restore(); // before the BMC is told, which may take a moment: nothing typed goes to the machine any more
          note(lost ? '' : '\rThe console is closed.'); // the machine may have left the cursor anywhere
          await serial.close();
          if (lost) throw lost;
        } finally {
          signal.removeEventListener('abort', onAbort);
          restore();
        }
      });
    });
}
