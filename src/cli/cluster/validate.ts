/** bmctl cluster validate: everything that is wrong with clusters in files, each problem with its place, before anybody applies them. */
import { readFileSync } from 'node:fs';
import { readYaml, type YamlDocument } from 'cdk8s-baremetal/yaml-documents';
import { nearest } from 'cdk8s-baremetal-contract';
import { asObject, asText } from 'cdk8s-baremetal-contract/loose';
import {
  type ClusterProblem,
  ONECLOUD_API_VERSION,
  ONECLOUD_GROUP,
  ONECLOUD_KIND,
  validateClusters,
} from 'cdk8s-baremetal-contract/onecloud/index';
import { clusterErrors } from './errors.ts';

export interface FileProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly severity: 'error' | 'warning';
  readonly code: string;
  readonly message: string;
  readonly cure: string;
}

export interface Validation {
  readonly problems: readonly FileProblem[];
  /** Clusters that were looked at. */
  readonly clusters: number;
}

export interface SourceText {
  /** For messages. */
  readonly file: string;
  readonly text: string;
}

/** The problems of all files together: two clusters may want one node port. Pure. */
export function validateTexts(sources: readonly SourceText[]): Validation {
  const problems: FileProblem[] = [];
  const clusters: { readonly file: string; readonly document: YamlDocument }[] = [];
  for (const { file, text } of sources) {
    const read = readYaml(text);
    if (read.problems) {
      for (const { line, column, reason } of read.problems) {
        const { code, message, cure } = clusterErrors.CLUSTER_FILE_SYNTAX({ reason });
        problems.push({ file, line, column, severity: 'error', code, message, cure });
      }
      continue;
    }
    // a file may hold Secrets and Namespaces, too: only what means to be a cluster is one
    clusters.push(...read.documents.filter(({ value }) => meansACluster(value)).map((document) => ({ file, document })));
  }
  for (const problem of validateClusters(clusters.map(({ document }) => document.value))) {
    const source = clusters[problem.cluster];
    if (source === undefined) continue;
    const { code, message, cure } = problem.error;
    problems.push({ file: source.file, ...placeOf(source.document, problem), severity: problem.severity, code, message, cure });
  }
  return { problems, clusters: clusters.length };
}

/** @throws CodedError CLUSTER_FILE_UNREADABLE, CLUSTER_FILE_WITHOUT, CLUSTER_FILE_PROBLEMS */
export function validateFiles(
  files: readonly string[],
  { print, asJson, readStdin }: { readonly print: (text: string) => void; readonly asJson: boolean; readonly readStdin: () => string },
): void {
  const sources = files.map((file) => ({
    file: file === '-' ? 'standard input' : file,
    text: file === '-' ? readStdin() : readText(file),
  }));
  const { problems, clusters } = validateTexts(sources);
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  if (asJson) print(JSON.stringify({ clusters, problems }, undefined, 2));
  else for (const problem of problems) print(lineOf(problem));
  if (errors > 0) throw clusterErrors.CLUSTER_FILE_PROBLEMS({ count: errors });
  if (clusters === 0) throw clusterErrors.CLUSTER_FILE_WITHOUT({ files: sources.map(({ file }) => file).join(', ') });
  if (!asJson) print(`${clusters} ${clusters === 1 ? 'cluster is' : 'clusters are'} well formed`);
}

/** As compilers write it, so that editors jump there. */
export function lineOf({ file, line, column, severity, code, message, cure }: FileProblem): string {
  return `${file}:${line}:${column}: ${severity === 'warning' ? 'warning: ' : ''}${code}: ${message}. ${cure}`;
}

function meansACluster(value: unknown): boolean {
  const { apiVersion, kind } = asObject(value);
  if (value === null || value === undefined) return false;
  const word = asText(kind);
  // a cluster whose kind or version is misspelled is told so rather than passed over
  return (
    apiVersion === ONECLOUD_API_VERSION ||
    asText(apiVersion)?.startsWith(`${ONECLOUD_GROUP}/`) === true ||
    word === undefined ||
    word === ONECLOUD_KIND ||
    nearest(word, [ONECLOUD_KIND]) !== undefined
  );
}

/** Of a misspelled key, where the key stands; of a bad value, where the value does. */
function placeOf(document: YamlDocument, { path, error }: ClusterProblem): { readonly line: number; readonly column: number } {
  const isKey = error.code === 'ONECLOUD_KEY_UNKNOWN' || error.code === 'ONECLOUD_FIELD_UNKNOWN';
  return isKey ? document.keyPositionOf(path) : document.positionOf(path);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw clusterErrors.CLUSTER_FILE_UNREADABLE({ file, reason: cause instanceof Error ? cause.message : String(cause) }, { cause });
  }
}
