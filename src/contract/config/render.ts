/** From typed values to the INI text that the daemon, and oslo.config, read back as the same values. */
import { type CodedError, nearest } from '../errors.ts';
import { configErrors, configInvalid, placeOf, quoted } from './errors.ts';
import { formatIni, type IniSection } from './ini.ts';
import { type ConfigDefinition, envName, type Sections } from './options.ts';
import { escapeDollars } from './substitution.ts';

export interface RenderOptions {
  /** What a secret option does: `refuse` (the default), since the text goes into ConfigMaps, or `reveal` for a file of mode 0600. */
  readonly secrets?: 'refuse' | 'reveal';
}

export function renderConfig<S extends Sections>(
  config: ConfigDefinition<S>,
  values: Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>,
  { secrets = 'refuse' }: RenderOptions = {},
): string {
  const problems: CodedError[] = unknownNames(config.sections, values);
  const sections: IniSection[] = [];
  for (const [name, options] of Object.entries(config.sections)) {
    const entries: { key: string; value: string }[] = [];
    for (const [key, option] of Object.entries(options)) {
      const given = values[name]?.[key];
      if (given === undefined) continue;
      const where = placeOf({ section: name, key });
      const encoded = option.type.encode(given);
      if (!encoded.ok) {
        const value = option.type.secret ? '***' : quoted(shown(given));
        problems.push(configErrors.CONFIG_VALUE({ where, value, reason: encoded.reason, expected: option.type.name }));
      } else if (option.type.secret && secrets === 'refuse') {
        problems.push(configErrors.CONFIG_SECRET_IN_TEXT({ where, env: envName(config, name, key) }));
      } else {
        entries.push(...encoded.value.map((text) => ({ key, value: escapeDollars(text) })));
      }
    }
    if (entries.length > 0) sections.push({ name, entries });
  }
  if (problems.length > 0) throw configInvalid(`the configuration to write for ${config.daemon}`, problems);
  return formatIni(sections);
}

function unknownNames(sections: Sections, values: Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>): CodedError[] {
  const problems: CodedError[] = [];
  for (const [section, keys] of Object.entries(values)) {
    const options = Object.hasOwn(sections, section) ? sections[section] : undefined;
    if (options === undefined) {
      const known = Object.keys(sections);
      problems.push(configErrors.CONFIG_UNKNOWN_SECTION({ where: placeOf({ section }), nearest: nearest(section, known), known }));
      continue;
    }
    for (const key of Object.keys(keys ?? {})) {
      if (Object.hasOwn(options, key)) continue;
      const known = Object.keys(options);
      const elsewhere = Object.keys(sections).find((other) => Object.hasOwn(sections[other] ?? {}, key));
      problems.push(configErrors.CONFIG_UNKNOWN_KEY({ where: placeOf({ section, key }), nearest: nearest(key, known), elsewhere, known }));
    }
  }
  return problems;
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
}
