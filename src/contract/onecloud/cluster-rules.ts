/**
 * What fields say only together, or beside what they said before, as CEL: the API server then refuses it, whoever writes. validate.ts holds
 * the same rules in TypeScript, for bmctl, the operator, and servers older than 1.25, which ignore these.
 */
import { asList, asObject } from '../loose.ts';
import type { Component } from './component.ts';

export interface ValidationRule {
  /** CEL without libraries that came after 1.25. `oldSelf` makes it a rule for changes alone. */
  readonly rule: string;
  readonly message: string;
}

/** By what they are about; every place of a rule has the bounds (maxLength) that its cost is estimated by. */
export const clusterRules = {
  name: {
    rule: "size(self.metadata.name) <= 29 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    message:
      'metadata.name must have at most 29 of a-z, 0-9 and "-", begin with a letter and not end with "-": it begins the names of Services and CronJobs',
  },
  region: { rule: 'self == oldSelf', message: 'region cannot change: services and machines are registered under it' },
  zone: { rule: 'self == oldSelf', message: 'zone cannot change: services and machines are registered under it' },
  mysqlPassword: {
    rule: 'has(self.password) != has(self.passwordSecretRef)',
    message: 'mysql needs exactly one of password and passwordSecretRef',
  },
  mysqlTls: {
    rule: "!has(self.tls) || !self.host.matches('^[0-9.]+$|:')",
    message: 'mysql.host must be the name that the certificate carries, since tls is asked for',
  },
  bootstrapPassword: {
    rule: '!(has(self.bootstrapPassword) && has(self.bootstrapPasswordSecretRef))',
    message: 'give bootstrapPassword or bootstrapPasswordSecretRef, not both',
  },
  updateStrategy: {
    rule: "self.type != 'OnDelete' || !has(self.maxUnavailable)",
    message: 'maxUnavailable says nothing beside type OnDelete, where nothing rolls',
  },
  replicasShareVolume: {
    rule: "!has(self.replicas) || self.replicas <= 1 || (has(self.accessMode) && self.accessMode == 'ReadWriteMany')",
    message: 'several replicas need accessMode ReadWriteMany: one node alone may mount the volume',
  },
  replicasSingle: { rule: '!has(self.replicas) || self.replicas <= 1', message: 'there can be one replica at most' },
} as const satisfies Record<string, ValidationRule>;

const FIELD = 'x-kubernetes-validations';

/** For `.meta()` of a schema. */
export function rulesMeta(...rules: readonly ValidationRule[]): Record<string, unknown> {
  return rules.length === 0 ? {} : { [FIELD]: rules };
}

/** Of `spec.<key>`. */
export function componentRules({ key, kind, single }: Component): ValidationRule[] {
  const replicated = kind === 'Deployment' || kind === 'StatefulDeployment';
  return [
    ...(single !== undefined && replicated ? [clusterRules.replicasSingle] : []),
    ...(single === undefined && kind === 'StatefulDeployment' ? [clusterRules.replicasShareVolume] : []),
    ...(key === 'keystone' ? [clusterRules.bootstrapPassword] : []),
  ];
}

/** A definition whose objects as a whole obey these rules, too. */
export function withRootRules(manifest: Record<string, unknown>, rules: readonly ValidationRule[]): Record<string, unknown> {
  return eachVersion(manifest, (schema) => ({ ...schema, ...rulesMeta(...rules) }));
}

/**
 * The definition for API servers before 1.25: they would ignore the rules, but their kubectl and their server-side apply refuse the field
 * that holds them.
 */
export function withoutRules(manifest: Record<string, unknown>): Record<string, unknown> {
  return eachVersion(manifest, (schema) => asObject(stripped(schema)));
}

type Schema = Readonly<Record<string, unknown>>;

function eachVersion(manifest: Schema, change: (schema: Schema) => Schema): Record<string, unknown> {
  const spec = asObject(manifest.spec);
  const versions = asList(spec.versions).map((version) => {
    const { openAPIV3Schema } = asObject(asObject(version).schema);
    return { ...asObject(version), schema: { openAPIV3Schema: change(asObject(openAPIV3Schema)) } };
  });
  return { ...manifest, spec: { ...spec, versions } };
}

function stripped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(stripped);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).flatMap(([name, inner]) => (name === FIELD ? [] : [[name, stripped(inner)]])));
}
