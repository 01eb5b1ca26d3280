/** Writes what docs/ holds that follows from the sources (npm run docs). */
import { writeFileSync } from 'node:fs';
import { bmsCoreConfig, CONTRACT_VERSION } from 'cdk8s-baremetal-contract';
import { openApiDocument } from 'cdk8s-baremetal-contract/api/index';
import { renderReference } from 'cdk8s-baremetal-contract/config/index';
import { novaBaremetalConfig } from 'cdk8s-baremetal-contract/nova-baremetal-config';
import { errorsPage } from './errors-page.ts';
import { requirementsPage } from './requirements-page.ts';

writeFileSync('docs/errors.md', await errorsPage());
writeFileSync('docs/requirements.md', requirementsPage());
for (const config of [bmsCoreConfig, novaBaremetalConfig]) writeFileSync(`docs/reference/${config.daemon}.md`, renderReference(config));
writeFileSync('docs/openapi.json', `${JSON.stringify(openApiDocument(CONTRACT_VERSION), undefined, 2)}\n`);
