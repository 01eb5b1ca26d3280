/** docs/reference/<daemon>.md, written from the option table. */
import { type ConfigDefinition, envName, type Option, type Sections } from './options.ts';

/** The whole page. */
export function renderReference(config: ConfigDefinition<Sections>): string {
  const intro = [
    `# ${config.daemon}: configuration`,
    '<!-- Written from the option table in src/contract; a test keeps it fresh. -->',
    config.about,
    `File: \`${config.file}\`, in the INI dialect of oslo.config (see [decision 0001](../decisions/0001-ini-dialect.md)). ` +
      'Per option the environment variable wins over the file, the file over the default. Environment values are taken literally; ' +
      'in the file `$name` and `$section.name` stand for another option and `$$` for a dollar sign.',
  ].filter((paragraph) => paragraph !== undefined);
  return `${[...intro, referenceTable(config)].join('\n\n')}\n`;
}

/** One heading and table per section. */
export function referenceTable(config: ConfigDefinition<Sections>): string {
  return Object.entries(config.sections)
    .map(([section, options]) => {
      const rows = Object.entries(options).map(([key, option]) => {
        const names = (option.deprecatedNames ?? []).map(
          (name) => `\`${typeof name === 'string' ? name : `[${name.section}] ${name.key}`}\``,
        );
        const help = names.length > 0 ? `${option.help} Also read as ${names.join(', ')}.` : option.help;
        return `| \`${key}\` | ${cell(typeText(option))} | ${cell(defaultText(option))} | \`${envName(config, section, key)}\` | ${cell(help)} |`;
      });
      const help: string | undefined = config.sectionHelp?.[section];
      const head = ['| option | type | default | environment | meaning |', '|---|---|---|---|---|'];
      return [`## [${section}]`, '', ...(help === undefined ? [] : [help, '']), ...head, ...rows].join('\n');
    })
    .join('\n\n');
}

function typeText(option: Option<unknown>): string {
  return option.unit === undefined ? option.type.name : `${option.type.name}, ${option.unit}`;
}

function defaultText(option: Option<unknown>): string {
  if (option.required) return '**required**';
  if (option.defaultFrom !== undefined) return `\`${option.defaultFrom}\``;
  if (option.default === undefined) return 'none';
  if (option.type.secret) return 'not shown';
  const encoded = option.type.encode(option.default);
  const text = encoded.ok ? encoded.value.join(', ') : '';
  return text === '' ? 'empty' : `\`${text}\``;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
