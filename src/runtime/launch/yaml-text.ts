/** YAML 1.2 text to plain data. A module of its own, so that containers with a config.json never load the parser. */
import { parse } from 'yaml';

/** Throws with the line and column on a syntax error, a repeated key or more than one document. */
export function parseYaml(text: string): unknown {
  return parse(text, { maxAliasCount: 100 });
}
