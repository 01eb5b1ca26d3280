/** From one zod schema to a CustomResourceDefinition with a structural OpenAPI schema. */
import { z } from 'zod';
import { API_GROUP, API_VERSION } from '../names.ts';

export interface CrdOptions<Spec extends z.ZodType, Status extends z.ZodType = z.ZodType> {
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly scope: 'Namespaced' | 'Cluster';
  readonly description: string;
  readonly spec: Spec;
  /** Becomes a status subresource. @default - the objects have no status */
  readonly status?: Status;
  readonly printerColumns: readonly { name: string; type: string; jsonPath: string; priority?: number }[];
  /** Default: our own group and version. */
  readonly group?: string;
  readonly version?: string;
}

export interface CrdDefinition<Spec extends z.ZodType, Status extends z.ZodType = z.ZodType> extends CrdOptions<Spec, Status> {
  readonly apiVersion: string;
  /** The object to write to crds/. */
  manifest(): Record<string, unknown>;
}

export function defineCrd<Spec extends z.ZodType, Status extends z.ZodType = z.ZodType>(
  options: CrdOptions<Spec, Status>,
): CrdDefinition<Spec, Status> {
  const group = options.group ?? API_GROUP;
  const version = options.version ?? API_VERSION;
  return { ...options, apiVersion: `${group}/${version}`, manifest: () => manifest(options, group, version) };
}

function manifest(options: CrdOptions<z.ZodType, z.ZodType>, group: string, version: string): Record<string, unknown> {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${options.plural}.${group}` },
    spec: {
      group,
      scope: options.scope,
      names: {
        kind: options.kind,
        listKind: `${options.kind}List`,
        plural: options.plural,
        singular: options.singular,
        shortNames: options.shortNames,
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          additionalPrinterColumns: options.printerColumns,
          ...(options.status && { subresources: { status: {} } }),
          schema: {
            openAPIV3Schema: {
              description: options.description,
              type: 'object',
              required: ['spec'],
              properties: {
                apiVersion: { type: 'string' },
                kind: { type: 'string' },
                metadata: { type: 'object' },
                spec: structural(options.spec),
                ...(options.status && { status: structural(options.status) }),
              },
            },
          },
        },
      ],
    },
  };
}

/**
 * JSON Schema as Kubernetes wants it: a structural schema has no `additionalProperties: false` beside `properties`
 * (unknown fields are pruned in any case), no `const`, no type unions, and integer bounds only where they say something.
 * What JSON Schema has no word for is written as `.meta({ 'x-kubernetes-…': … })`, x-kubernetes-validations (CEL) included, and
 * copied as it is.
 */
function structural(schema: z.ZodType): unknown {
  return tidy(z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input', unrepresentable: 'throw' }));
}

function tidy(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(tidy);
  if (typeof node !== 'object' || node === null) return node;
  const fields = node as Record<string, unknown>;
  if (fields['x-kubernetes-int-or-string'] === true) return intOrString(fields);
  if (Array.isArray(fields.anyOf)) {
    const values = fields.anyOf.flatMap((option: { enum?: unknown[] }) => option.enum ?? []);
    if (values.length === fields.anyOf.length) {
      const { anyOf: _, ...rest } = fields;
      return { ...(tidy(rest) as object), type: typeof values[0] === 'number' ? 'integer' : 'string', enum: values };
    }
  }
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    if (key === 'additionalProperties' && (value === false || fields['x-kubernetes-preserve-unknown-fields'] === true)) continue;
    if (key === '$schema' || key === 'propertyNames') continue;
    if ((key === 'minimum' || key === 'maximum') && Math.abs(Number(value)) === Number.MAX_SAFE_INTEGER) continue;
    if (key === 'pattern' && fields.format === 'date-time') continue;
    result[key] =
      key === 'properties' ? Object.fromEntries(Object.entries(value as object).map(([name, inner]) => [name, tidy(inner)])) : tidy(value);
  }
  return result;
}

/** The one union of types that a structural schema may have, in the one form that it may have it. */
function intOrString({ anyOf: _, ...rest }: Record<string, unknown>): unknown {
  return { ...rest, anyOf: [{ type: 'integer' }, { type: 'string' }] };
}
