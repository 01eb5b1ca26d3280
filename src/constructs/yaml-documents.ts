/** YAML that people write, as data that remembers where everything stands: line and column for each problem. */
import type { DataPath } from 'cdk8s-baremetal-contract';
import { type Document, isMap, isScalar, LineCounter, parseAllDocuments } from 'yaml';

export interface TextPosition {
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

export interface YamlDocument {
  /** `null` for an empty document. */
  readonly value: unknown;
  /** Where the value at `path` begins; of a missing one, where the closest thing around it begins. */
  positionOf(path: DataPath): TextPosition;
  /** Where the key at the end of `path` stands; as `positionOf` where there is none. */
  keyPositionOf(path: DataPath): TextPosition;
}

export interface YamlProblem extends TextPosition {
  readonly reason: string;
}

export type YamlFile =
  | { readonly documents: readonly YamlDocument[]; readonly problems?: undefined }
  | { readonly problems: readonly YamlProblem[] };

/** More aliases than this could multiply into millions of values. */
const MAX_ALIASES = 100;

/** All documents of a text, or everything that keeps it from being YAML. */
export function readYaml(text: string): YamlFile {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const documents: readonly Document.Parsed[] = Array.isArray(parsed) ? parsed : [];
  const at = (offset: number): TextPosition => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const syntax = documents.flatMap(({ errors }) => errors.map(({ message, pos }) => ({ ...at(pos[0]), reason: message })));
  if (syntax.length > 0) return { problems: syntax };
  const read: YamlDocument[] = [];
  for (const document of documents) {
    try {
      read.push({
        value: document.toJS({ maxAliasCount: MAX_ALIASES }),
        positionOf: (path) => at(offsetOf(document, path)),
        keyPositionOf: (path) => at(keyOffsetOf(document, path) ?? offsetOf(document, path)),
      });
    } catch (cause) {
      return { problems: [{ ...at(document.range[0]), reason: cause instanceof Error ? cause.message : String(cause) }] };
    }
  }
  return { documents: read };
}

function offsetOf(document: Document.Parsed, path: DataPath): number {
  for (let depth = path.length; depth >= 0; depth--) {
    const node: unknown = document.getIn(path.slice(0, depth), true);
    if (typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)) return Number(node.range[0]);
  }
  return 0;
}

function keyOffsetOf(document: Document.Parsed, path: DataPath): number | undefined {
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  if (!isMap(parent)) return undefined;
  const pair = parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1));
  return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
}
