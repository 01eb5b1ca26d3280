/** Holds manifests against the structure of Kubernetes 1.36 and of our own CRDs, unknown fields refused. */
import { readdirSync, readFileSync } from 'node:fs';
import { Ajv, type ValidateFunction } from 'ajv';
import { parseAllDocuments } from 'yaml';

type Schema = Record<string, unknown>;

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
  };
}

const { schemas } = JSON.parse(readFileSync(new URL('./kubernetes-1.36.schemas.json', import.meta.url), 'utf8')) as {
  schemas: Record<string, Schema>;
};

const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false, logger: false });
for (const [name, schema] of Object.entries(schemas)) ajv.addSchema(closed(schema) as Schema, `#/components/schemas/${name}`);

/** "apps/v1 DaemonSet" → its validator, compiled when first asked for. */
const validators = new Map<string, () => ValidateFunction | undefined>();
for (const [name, schema] of Object.entries(schemas)) {
  for (const { group, version, kind } of (schema['x-kubernetes-group-version-kind'] ?? []) as {
    group: string;
    version: string;
    kind: string;
  }[]) {
    validators.set(`${group ? `${group}/` : ''}${version} ${kind}`, () => ajv.getSchema(`#/components/schemas/${name}`));
  }
}

const crdFolder = new URL('../../crds/', import.meta.url);
const crds = readdirSync(crdFolder).flatMap((file) => parseAllDocuments(readFileSync(new URL(file, crdFolder), 'utf8')));
for (const document of crds) {
  const { spec } = document.toJS();
  for (const { name, schema } of spec.versions) {
    const { metadata: _, ...properties } = schema.openAPIV3Schema.properties;
    const structure = closed({ ...schema.openAPIV3Schema, properties });
    const inner = (structure as { properties: Schema }).properties;
    inner.metadata = { $ref: '#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' };
    validators.set(
      `${spec.group}/${name} ${spec.names.kind}`,
      memoized(() => ajv.compile(structure as Schema)),
    );
  }
}

/** What is wrong with a manifest, one line each; empty when Kubernetes 1.36 would know every field. */
export function schemaProblems(manifest: Manifest): string[] {
  const type = `${manifest.apiVersion} ${manifest.kind}`;
  const validate = validators.get(type)?.();
  if (!validate) return [`${type}: Kubernetes 1.36 does not serve it`];
  const isValid: boolean = validate(manifest);
  if (isValid) return [];
  return (validate.errors ?? []).map(
    ({ instancePath, message, params }) =>
      `${manifest.kind} ${manifest.metadata.name}${instancePath}: ${message} ${JSON.stringify(params)}`,
  );
}

function memoized<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** The same schema with every object that lists its properties closed to others. */
function closed(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(closed);
  if (typeof node !== 'object' || node === null) return node;
  const result: Schema = {};
  for (const [key, value] of Object.entries(node)) {
    result[key] =
      key === 'properties'
        ? Object.fromEntries(Object.entries(value as object).map(([name, inner]) => [name, closed(inner)]))
        : closed(value);
  }
  if ('properties' in node && !('additionalProperties' in node) && !('x-kubernetes-preserve-unknown-fields' in node))
    result.additionalProperties = false;
  return result;
}
