/** bmctl bmc: the controllers themselves. By URL: what one is, its network and users. Through the API: how it stands with all of them. */
import { CodedError } from 'cdk8s-baremetal-contract';
import {
  coldReset,
  completionCodeOf,
  getDeviceId,
  getRestartCause,
  getSystemGuid,
  quirksOf,
  readLanParameters,
  readUsers,
  setPassword,
  testPassword,
} from 'cdk8s-baremetal-runtime/power/ipmi/index';
import { type Command, InvalidArgumentError } from 'commander';
import { asking, IPMI_TARGET, type IpmiDesk, type TargetFlags, withIpmi } from '../bmc-target.ts';
import { commandErrors } from '../errors.ts';
import { ExitError, exitCode } from '../exit-codes.ts';
import type { CommandContext } from '../node-commands.ts';
import { readSecret, secretErrors } from '../secret-input.ts';
import type { Surroundings } from '../surroundings.ts';
import { table } from '../table.ts';
import { unconfirmed } from './power.ts';

const PRIVILEGES = ['-', 'callback', 'user', 'operator', 'administrator', 'OEM'] as const;

export function registerBmc(program: Command, world: Surroundings, context: () => Promise<CommandContext>): void {
  const asJson = (): boolean => program.opts<{ json?: boolean }>().json === true;
  const tell = (json: object, text: string): void => world.print(asJson() ? JSON.stringify(json, undefined, 2) : text);
  const bmc = program.command('bmc').description('the controllers of machines');

  bmc
    .command('status')
    .description('how it stands with every BMC that bms-core has asked by IPMI')
    .option('--problems', 'only those that do not answer')
    .action(async ({ problems }: { problems?: boolean }) => {
      const { api } = await context();
      const { bmcs } = await api.ask('listBmcs', {});
      const shown = problems ? bmcs.filter(({ state }) => state !== 'answering' && state !== 'new') : bmcs;
      if (asJson()) return world.print(JSON.stringify({ bmcs: shown }, undefined, 2));
      if (shown.length === 0) return world.print(problems ? 'Every BMC answers.' : 'No BMC was asked yet.');
      world.print(
        table(
          ['BMC', 'MACHINE', 'STATE', 'SUITE', 'LAST ANSWER', 'LAST ERROR'],
          shown.map((one) => [
            one.bmc,
            one.nodes.join(', ') || '-',
            one.state,
            one.cipherSuite === undefined ? '-' : String(one.cipherSuite),
            one.answeredAt ?? '-',
            one.lastError
              ? `${one.lastError.code} at ${one.lastError.at}${one.probeAt === undefined ? '' : `; one try at ${one.probeAt}`}`
              : '',
          ]),
        ),
      );
    });
  bmc
    .command('retry')
    .description('after a refused password was put right: lets bms-core speak to the BMC again; also asks a silent one at once')
    .argument('<node>', 'name, UUID, number or MAC address of the machine')
    .action(async (node: string) => {
      const { api } = await context();
      const answer = await api.ask('retryBmc', { node });
      tell(answer, `${answer.bmc} will be asked again.`);
    });

  asking(bmc.command('info').description('manufacturer, firmware, GUID, why the machine restarted last'))
    .argument('<url>', IPMI_TARGET)
    .action(async (url: string, flags: TargetFlags) => {
      const found = await withIpmi(world, { url, flags, privilege: 'user', what: 'bmc info' }, async ({ run }) => {
        const device = await run(getDeviceId);
        const optional = <T>(answer: Promise<T>): Promise<T | undefined> =>
          answer.catch((error: unknown) => {
            if (completionCodeOf(error) === undefined) throw error;
            return undefined;
          });
        return {
          ...device,
          guid: (await optional(run(getSystemGuid)))?.smbios,
          restartCause: (await optional(run(getRestartCause)))?.cause,
        };
      });
      const quirks = quirksOf(found).map(({ what }) => what);
      tell(
        { ...found, quirks },
        [
          `manufacturer ${found.manufacturer}, product ${found.product}, device ${found.deviceId} revision ${found.deviceRevision}`,
          `firmware ${found.firmware}, IPMI ${found.ipmiVersion}${found.busy ? ', busy (update or start)' : ''}`,
          `GUID ${found.guid ?? 'not told'}`,
          `last restart: ${found.restartCause ?? 'not told'}`,
          ...quirks.map((what) => `known of it: ${what}`),
        ].join('\n'),
      );
    });
  asking(bmc.command('lan').description("the BMC's own network settings"))
    .argument('<url>', IPMI_TARGET)
    .action(async (url: string, flags: TargetFlags) => {
      const lan = await withIpmi(world, { url, flags, privilege: 'operator', what: 'bmc lan' }, ({ run }) =>
        readLanParameters(run, world.signal),
      );
      const shown = { ...lan, cipherSuites: lan.cipherSuites?.join(', '), vlan: lan.vlan === undefined ? 'none' : String(lan.vlan) };
      tell(
        lan,
        Object.entries(shown)
          .map(([name, value]) => `${name}: ${value ?? 'not told'}`)
          .join('\n'),
      );
    });
  asking(bmc.command('users').description('its users, with what they may do on the LAN channel'))
    .argument('<url>', IPMI_TARGET)
    .action(async (url: string, flags: TargetFlags) => {
      const users = await withIpmi(world, { url, flags, privilege: 'administrator', what: 'bmc users' }, ({ run }) =>
        readUsers(run, world.signal),
      );
      tell(
        { users },
        table(
          ['ID', 'NAME', 'ENABLED', 'IPMI', 'PRIVILEGE'],
          users.map((one) => [
            String(one.id),
            one.name || '(none)',
            one.enabled ? 'yes' : 'no',
            one.ipmi ? 'yes' : 'no',
            PRIVILEGES[one.privilege] ?? '-',
          ]),
        ),
      );
    });

  const password = bmc.command('password').description('passwords of its users');
  for (const word of ['test', 'set'] as const) {
    asking(
      password
        .command(word)
        .description(
          word === 'test'
            ? 'does this user have this password? Does not count as a failed log-in'
            : 'gives a user another password, and tests it',
        ),
    )
      .argument('<url>', IPMI_TARGET)
      .argument('<id>', 'number of the user, as bmctl bmc users shows it', userId)
      .option('--new-password-file <file>', 'with the password to test or set; - for standard input; or BMCTL_NEW_PASSWORD')
      .action(async (url: string, id: number, flags: TargetFlags & { newPasswordFile?: string }) => {
        const given =
          (await readSecret(world, flags.newPasswordFile, 'BMCTL_NEW_PASSWORD')) ??
          (world.terminal && { reveal: await hidden(world, `Password to ${word}: `) });
        // an empty one is a key that was hit, or a variable that was not set: everybody could log in with it
        if (given === undefined || (word === 'set' && given.reveal() === ''))
          throw secretErrors.BMCTL_SECRET({ what: `the password to ${word}`, file: '--new-password-file', env: 'BMCTL_NEW_PASSWORD' });
        const text = given.reveal();
        const bytes = await withIpmi(world, { url, flags, privilege: 'administrator', what: 'bmc password' }, async ({ run }) => {
          if (word === 'set') await setPassword(run, id, text, world.signal);
          return testPassword(run, id, text, world.signal);
        });
        if (bytes === undefined) throw new ExitError(exitCode.notAllowed, commandErrors.BMCTL_BMC_PASSWORD({ user: id }));
        tell(
          { user: id, bytes },
          word === 'set' ? `User ${id} has it now, kept in ${bytes} bytes.` : `It is the password of user ${id}, kept in ${bytes} bytes.`,
        );
      });
  }
  asking(bmc.command('reset').description('restarts the BMC itself; the machine goes on. It is silent for a minute or more'))
    .argument('<url>', IPMI_TARGET)
    .option('-y, --yes', 'its sessions and consoles end')
    .action(async (url: string, flags: TargetFlags & { yes?: boolean }) => {
      if (!flags.yes) throw unconfirmed('restarting a BMC');
      await withIpmi(world, { url, flags, privilege: 'administrator', what: 'bmc reset' }, (desk) => restart(desk, world.signal));
      tell({ reset: true }, 'The BMC restarts.');
    });
}

/** Section 20.2: a BMC may restart before it could answer. It let the user in and raised the session a moment ago, so its silence is the restart. */
async function restart({ gateway, access }: IpmiDesk, signal: AbortSignal): Promise<void> {
  const session = await gateway.session(access, signal);
  try {
    await session.run(coldReset, signal);
  } catch (error) {
    if (!(error instanceof CodedError && error.code === 'IPMI_NO_ANSWER' && error.message.includes(coldReset.name))) throw error;
  } finally {
    await session.close();
  }
}

async function hidden({ terminal }: Surroundings, question: string): Promise<() => string> {
  const text = (await terminal?.askHidden(question)) ?? '';
  return () => text;
}

function userId(text: string): number {
  if (!/^[1-9]\d?$/.test(text) || Number(text) > 63) throw new InvalidArgumentError('It must be a number from 1 to 63.');
  return Number(text);
}
