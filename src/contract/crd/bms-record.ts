/**
 * The custom resource BmsRecord: one record of bms-core's store when Kubernetes is its database. The value's shape is the daemon's own
 * affair (it checks each record that it reads), so the schema keeps it whole; everything around it is structural.
 */
import { z } from 'zod';
import { type CrdDefinition, defineCrd } from './define-crd.ts';

/** What bms-core does with them, and so what its Role allows. */
export const RECORD_VERBS = ['get', 'list', 'watch', 'create', 'update', 'delete'] as const;
/** On Leases (coordination.k8s.io), where replicas coordinate by them. */
export const LEASE_VERBS = RECORD_VERBS;

const spec = z
  .strictObject({
    kind: z
      .string()
      .regex(/^[a-z]([a-z-]{0,61}[a-z])?$/)
      .describe('Kind of the record: node, deployment, secret …'),
    id: z.string().min(1).max(1024).describe('Id of the record; the name of the object is derived from scope, kind and id.'),
    marks: z
      .string()
      .max(256)
      .describe('Marks of the last writes, newest first: they tell a writer whose answer got lost whether it wrote.'),
    value: z.unknown().meta({ 'x-kubernetes-preserve-unknown-fields': true, description: 'The record. Secrets are encrypted in it.' }),
  })
  .describe('The record. Written by bms-core; change a machine through its API or bmctl.');

export const bmsRecord: CrdDefinition<typeof spec> = defineCrd({
  kind: 'BmsRecord',
  plural: 'bmsrecords',
  singular: 'bmsrecord',
  shortNames: ['bmsr'],
  scope: 'Namespaced',
  description: 'One record of the database of a pair of management nodes.',
  spec,
  printerColumns: [
    { name: 'Kind', type: 'string', jsonPath: '.spec.kind' },
    { name: 'Id', type: 'string', jsonPath: '.spec.id' },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  ],
});
