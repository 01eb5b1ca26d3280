/**
 * Sites from an inventory file, for people who keep their racks in YAML. Every problem is told at once, each with file, line
 * and column of the value it speaks of.
 */
import { readFileSync } from 'node:fs';
import { type CodedError, type DataPath, defineErrors, entry, type SiteInput, validateSites } from 'cdk8s-baremetal-contract';
import { type Document, LineCounter, parseAllDocuments } from 'yaml';

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
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const documents: Document.Parsed[] = Array.isArray(parsed) ? parsed : [];
  const at = (offset: number): Pick<InventoryProblem, 'file' | 'line' | 'column'> => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const syntax = documents.flatMap((document) =>
    document.errors.map(({ message, pos }) => ({ ...at(pos[0]), error: inventoryErrors.INVENTORY_SYNTAX({ reason: message }) })),
  );
  if (syntax.length > 0) throw new InventoryError(syntax);
  const sites = documents.map((document) => toData(document, at)).filter((site) => site !== null);
  if (sites.length === 0) throw new InventoryError([{ ...at(0), error: inventoryErrors.INVENTORY_EMPTY({ file }) }]);
  const problems = validateSites(sites).map(({ site, path, error }) => ({ ...at(offsetOf(documents[site], path)), error }));
  if (problems.length > 0) throw new InventoryError(problems);
  return sites as SiteInput[];
}

/** The document's data; aliases that would multiply into millions of values are refused. */
function toData(document: Document.Parsed, at: (offset: number) => Pick<InventoryProblem, 'file' | 'line' | 'column'>): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new InventoryError([{ ...at(document.range[0]), error: inventoryErrors.INVENTORY_SYNTAX({ reason }, { cause }) }]);
  }
}

/** Where the value at `path` begins; of a missing one, where the closest thing around it begins. */
function offsetOf(document: Document.Parsed | undefined, path: DataPath): number {
  for (let depth = path.length; depth >= 0; depth--) {
    const node: unknown = document?.getIn(path.slice(0, depth), true);
    if (typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)) return Number(node.range[0]);
  }
  return 0;
}
