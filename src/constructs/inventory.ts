/**
 * Sites from an inventory file, for people who keep their racks in YAML. Every problem is told at once, each with file, line
 * and column of the value it speaks of.
 */
import { readFileSync } from 'node:fs';
import { type CodedError, defineErrors, entry, type SiteInput, validateSites } from 'cdk8s-baremetal-contract';
import { readYaml } from './yaml-documents.ts';

export const inventoryErrors = defineErrors('Inventories', {
  INVENTORY_UNREADABLE: entry<{ file: string; reason: string }>({
    message: ({ file, reason }) => `the inventory ${file} cannot be read: ${reason}`,
    cure: 'Check the path and its permissions',
  }),
  INVENTORY_SYNTAX: entry<{ reason: string }>({
    message: ({ reason }) => `this is not YAML: ${reason}`,
    cure: 'Correct the line',
  }),
  INVENTORY_EMPTY: entry<{ file: string }>({
    message: ({ file }) => `the inventory ${file} describes no site`,
    cure: 'Write one YAML document per site, with its name and its pods',
  }),
});

export interface InventoryProblem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly column: number;
  readonly error: CodedError;
}

/** Everything that is wrong with an inventory; `message` prints one problem a line, as `file:line:column: CODE: …`. */
export class InventoryError extends Error {
  readonly problems: readonly InventoryProblem[];

  constructor(problems: readonly InventoryProblem[]) {
    super(problems.map(({ file, line, column, error }) => `${file}:${line}:${column}: ${error}`).join('\n'));
    this.name = 'InventoryError';
    this.problems = problems;
  }
}

/**
 * The sites of an inventory: one YAML document each.
 * @throws InventoryError with all problems
 */
export function readInventory(file: string): SiteInput[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new InventoryError([{ file, line: 1, column: 1, error: inventoryErrors.INVENTORY_UNREADABLE({ file, reason }, { cause }) }]);
  }
  return parseInventory(text, file);
}

/** As `readInventory`, of text; `file` is only for messages. */
export function parseInventory(text: string, file: string): SiteInput[] {
  const read = readYaml(text);
  if (read.problems) {
    throw new InventoryError(
      read.problems.map(({ reason, ...position }) => ({ file, ...position, error: inventoryErrors.INVENTORY_SYNTAX({ reason }) })),
    );
  }
  const documents = read.documents.filter(({ value }) => value !== null); // "---" before the first site
  const sites = documents.map(({ value }) => value);
  if (sites.length === 0) throw new InventoryError([{ file, line: 1, column: 1, error: inventoryErrors.INVENTORY_EMPTY({ file }) }]);
  const problems = validateSites(sites).map(({ site, path, error }) => {
    const { line, column } = documents[site]?.positionOf(path) ?? { line: 1, column: 1 };
    return { file, line, column, error };
  });
  if (problems.length > 0) throw new InventoryError(problems);
  return sites as SiteInput[];
}
