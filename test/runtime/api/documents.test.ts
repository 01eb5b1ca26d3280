/** What is written about the API is what it is. */
import { readFileSync } from 'node:fs';
import { CONTRACT_VERSION } from 'cdk8s-baremetal-contract';
import { metrics, openApiDocument, operations } from 'cdk8s-baremetal-contract/api/index';
import { describe, expect, it } from 'vitest';

describe('documents', () => {
  it('docs/openapi.json is fresh: npm run docs', () => {
    expect(JSON.parse(readFileSync('docs/openapi.json', 'utf8'))).toEqual(JSON.parse(JSON.stringify(openApiDocument(CONTRACT_VERSION))));
  });

  it('every reference in the OpenAPI document leads somewhere, and every operation has one id', () => {
    const text = JSON.stringify(openApiDocument(CONTRACT_VERSION));
    const { components } = JSON.parse(text) as { components: { schemas: Record<string, unknown> } };
    for (const [, name = ''] of text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g))
      expect(components.schemas, name).toHaveProperty(name);
    const ids = [...text.matchAll(/"operationId":"([^"]+)"/g)].map(([, id]) => id);
    expect(ids.sort()).toEqual(Object.keys(operations).sort());
    expect(text).not.toMatch(/"\$(schema|id)"/);
  });

  it('docs/api.md has every operation and every metric', () => {
    const page = readFileSync('docs/api.md', 'utf8');
    for (const { method, path } of Object.values(operations)) expect(page).toContain(`| \`${method} ${path}\` |`);
    for (const name of Object.keys(metrics)) expect(page).toContain(`| \`${name}\` |`);
  });

  it('docs/from-nova.md has a row for every command of nova that the original was operated with', () => {
    const page = readFileSync('docs/from-nova.md', 'utf8');
    for (const command of [
      'nova-baremetal-manage db sync',
      'glance image-create',
      'nova flavor-create',
      'nova flavor-key',
      'nova baremetal-node-create',
      'nova baremetal-interface-add',
      'nova boot',
      'nova delete',
    ])
      expect(page).toContain(`| \`${command}`);
  });
});
