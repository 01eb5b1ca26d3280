/** What bmctl does without the API: tokens, the store's schema and backups. */
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { bmsCoreConfig, defineErrors, entry, path } from 'cdk8s-baremetal-contract';
import { roles } from 'cdk8s-baremetal-contract/api/index';
import type { Secret } from 'cdk8s-baremetal-contract/secret';
import { isTokenName, newToken, parseTokens, tokenLine } from 'cdk8s-baremetal-runtime/api/index';
import { exportRecords, importRecords, openStore, schemaVersion, syncSchema } from 'cdk8s-baremetal-runtime/store/index';
import { type Command, Option } from 'commander';
import { commandErrors } from '../errors.ts';
import { ExitError, exitCode } from '../exit-codes.ts';
import { readNamedFile, replaceNamedFile, streamNamedFile } from '../named-file.ts';
import { readSecret } from '../secret-input.ts';
import type { Surroundings } from '../surroundings.ts';

export const localErrors = defineErrors('bmctl without bms-core', {
  BMCTL_NO_STORE: entry<{ url: string }>({
    message: ({ url }) => `there is no store at ${url}`,
    cure: 'Correct --store, or name the configuration of bms-core with --config; bmctl db sync makes a store',
  }),
  BMCTL_TOKEN_NAME: entry<{ name: string }>({
    message: ({ name }) => `"${name}" is no name of a token`,
    cure: 'Give 1 to 64 letters, digits, dots, dashes, underscores and at signs',
  }),
  BMCTL_TOKEN_TAKEN: entry<{ name: string; file: string }>({
    message: ({ name, file }) => `${file} has a token of the name ${name} already`,
    cure: 'Choose another name, or take its line out first: who holds the old token is not let in any more',
  }),
  BMCTL_TOKENS_FILE: entry<{ file: string; why: string }>({
    message: ({ file, why }) => `nothing was added, since bms-core would let nobody in with ${file}: ${why}`,
    cure: 'Correct the file: one line per token, "name role sha256"',
  }),
});

interface StoreFlags {
  readonly store?: string;
  readonly config: string;
  readonly passwordFile?: string;
}

export function registerLocal(program: Command, world: Surroundings): void {
  const { print, note, random, clock } = world;
  const tell = (json: object, sentence: string): void =>
    print(program.opts<{ json?: boolean }>().json ? JSON.stringify(json, undefined, 2) : sentence);
  program
    .command('token')
    .description('tokens of the API')
    .command('create')
    .description('makes a token: prints it once, and its line for [api] tokens_file')
    .argument('<name>', 'who it is for')
    .addOption(new Option('--role <role>', 'what it may: docs/api.md').choices([...roles]).makeOptionMandatory())
    .option('--file <file>', 'add the line to this tokens file')
    .action((name: string, { role, file }: { role: (typeof roles)[number]; file?: string }) => {
      if (!isTokenName(name)) throw new ExitError(exitCode.usage, localErrors.BMCTL_TOKEN_NAME({ name }));
      const token = newToken(random);
      const line = tokenLine(name, role, token);
      if (file === undefined) note(`Add to [api] tokens_file: ${line}`);
      else {
        addToken(file, name, line);
        note(`Added to ${file}.`);
      }
      tell({ name, role, token, line }, token);
    });

  const db = program.command('db').description("bms-core's store: schema and backups");
  const withStore = (command: Command): Command =>
    command
      .option('--store <url>', 'in place of [store] url of the configuration')
      .option('--config <file>', 'of bms-core', path.configFile)
      .option('--password-file <file>', 'with the password of a mysql:// URL; or BMCTL_STORE_PASSWORD');
  const target = async ({ store, config: file, passwordFile }: StoreFlags): Promise<{ url: string; password: Secret | undefined }> => {
    const password = await readSecret(world, passwordFile, 'BMCTL_STORE_PASSWORD');
    if (store !== undefined) return { url: store, password };
    if (!existsSync(file)) throw new ExitError(exitCode.usage, commandErrors.BMCTL_NO_CONFIG({ file }));
    const config = bmsCoreConfig.parse(readNamedFile(file), { file, env: world.env });
    return { url: config.store.url, password: password ?? config.store.password };
  };
  withStore(db.command('sync').description('brings the schema up to date; repeatable')).action(async (flags: StoreFlags) => {
    const { url, password } = await target(flags);
    const { found } = await syncSchema(url, { clock, password });
    tell({ found }, `The schema has version ${found}.`);
  });
  withStore(db.command('version').description('of the schema, and what this program would make of it')).action(
    async (flags: StoreFlags) => {
      const { url, password } = await target(flags);
      const { found, newest } = await schemaVersion(url, { clock, password });
      tell({ found, newest }, found === newest ? `${found}` : `${found}; bmctl db sync makes it ${newest}`);
    },
  );
  withStore(db.command('export').description('every record as lines of JSON, on standard output or into a file'))
    .option('-o, --output <file>', 'mode 0600; default: standard output')
    .action(async (flags: StoreFlags & { output?: string }) => {
      const { url, password } = await target(flags);
      // to open it would make it: a misspelt path would be a backup of nothing
      if (!url.startsWith('memory:') && (await schemaVersion(url, { clock, password })).found === 0)
        throw new ExitError(exitCode.notFound, localErrors.BMCTL_NO_STORE({ url }));
      const store = openStore(url, { clock, password });
      try {
        const lines: string[] = [];
        for await (const line of exportRecords(store, { clock })) flags.output === undefined ? print(line) : lines.push(line);
        if (flags.output === undefined) return;
        replaceNamedFile(flags.output, `${lines.join('\n')}\n`); // whole or not at all: it may be the only backup
        note(`Wrote ${lines.length - 2} records to ${flags.output}.`);
      } finally {
        await store.close();
      }
    });
  withStore(db.command('import').description('reads what export wrote; no daemon should run on the store'))
    .argument('<file>', 'that export wrote')
    .option('--overwrite', 'also records that have another value now')
    .action(async (file: string, flags: StoreFlags & { overwrite?: boolean }) => {
      const { url, password } = await target(flags);
      const store = openStore(url, { clock, password });
      try {
        const lines = createInterface({ input: streamNamedFile(file), crlfDelay: Number.POSITIVE_INFINITY });
        const { created, overwritten, unchanged } = await importRecords(store, lines, { ...(flags.overwrite && { overwrite: true }) });
        tell({ created, overwritten, unchanged }, `${created} records created, ${overwritten} overwritten, ${unchanged} were there.`);
      } finally {
        await store.close();
      }
    });
}

/** A line more, and everything else as it was; bms-core sees the old file or the new one, since a line that is cut short would let nobody in. */
function addToken(file: string, name: string, line: string): void {
  const text = existsSync(file) ? readNamedFile(file) : '';
  let names: string[];
  try {
    names = parseTokens(text).map((token) => token.name);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ExitError(exitCode.usage, localErrors.BMCTL_TOKENS_FILE({ file, why }));
  }
  if (names.includes(name)) throw new ExitError(exitCode.refused, localErrors.BMCTL_TOKEN_TAKEN({ name, file }));
  const before = text === '' || text.endsWith('\n') ? text : `${text}\n`; // an editor may have left the last line without an end
  replaceNamedFile(file, `${before}${line}\n`);
}
