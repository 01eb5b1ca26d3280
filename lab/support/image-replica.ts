/**
 * The deploy-helper of a second management node, at `LAB_ADDRESS`, on the store that the first one has too: it gives images out and notes what ramdisks
 * say, and drives no machine. `image-replica.ts --config FILE`; says `ready` when it listens.
 */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { bmsCoreConfig } from 'cdk8s-baremetal-contract';
import { MetricsRegistry } from 'cdk8s-baremetal-runtime/api/index';
import { openCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { silentLogger as logger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock as clock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork as network } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom as random } from 'cdk8s-baremetal-runtime/core/node-random';
import { BootView } from 'cdk8s-baremetal-runtime/machine/index';
import { startDeploy } from 'cdk8s-baremetal-runtime/roles/deploy';
import { startSecrets } from 'cdk8s-baremetal-runtime/roles/secrets';
import { openStore } from 'cdk8s-baremetal-runtime/store/index';

const { values } = parseArgs({ options: { config: { type: 'string', default: '' } } });
const serverAddress = process.env.LAB_ADDRESS ?? '';
const read = bmsCoreConfig.parse(readFileSync(values.config, 'utf8'), { file: values.config, env: {} });
const config = {
  ...read,
  deploy_helper: { ...read.deploy_helper, address: serverAddress },
  image_cache: { ...read.image_cache, dir: `${read.image_cache.dir}-2` }, // a management node has a disk of its own
};
const store = openStore(config.store.url, { clock, network, logger });
const stateDirectory = dirname(`/${config.store.url.replace(/^sqlite:\/+/, '')}`);
const { secrets } = await startSecrets({ config, store, stateDirectory, random, logger });
const coordination = openCoordination('memory://', { clock, sessionTimeoutMs: 30_000 });
const machines = new BootView({ store, secrets, initiatorName: 'none' });
const around = { config, memberName: 'second', serverAddress, network, clock, random, logger, store, secrets, coordination, machines };
await startDeploy({ ...around, metrics: new MetricsRegistry(), settings: {} });
console.log('ready');
