/** Executable: kolla_set_configs [--check]. */
import { existsSync, writeSync } from 'node:fs';
import { CONFIG_DIRECTORY, type TextParser } from './config.ts';
import { setConfigsMain } from './set-configs-main.ts';

async function main(): Promise<void> {
  process.exitCode = setConfigsMain({
    args: process.argv.slice(2),
    environment: process.env,
    yaml: await yamlParser(),
    write: (text) => writeSync(2, text),
  });
}

/** The parser takes longer to load than everything else to run: only when there is YAML. */
async function yamlParser(): Promise<TextParser> {
  if (existsSync(`${CONFIG_DIRECTORY}/config.yaml`)) return (await import('./yaml-text.ts')).parseYaml;
  return () => {
    throw new Error('the file appeared while this program started');
  };
}

void main();
