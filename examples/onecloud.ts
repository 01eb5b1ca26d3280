/** The OneCloud cluster of the documents: version v3.1.3-20200312.0, glance with 100G, one service held at its version. */
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { App } from 'cdk8s';
import { OnecloudCluster } from 'cdk8s-baremetal/onecloud/index';
import type { ClusterSpec } from 'cdk8s-baremetal-contract/onecloud/index';

const IMAGES = 'registry.cn-beijing.aliyuncs.com/yunionio';

export const onecloudSpec: ClusterSpec = {
  // the documents write the password here; a Secret keeps it from everybody who may read the cluster
  mysql: { host: '10.168.26.216', username: 'root', passwordSecretRef: { name: 'mysql-root' } },
  region: 'region0',
  imageRepository: IMAGES,
  version: 'v3.1.3-20200312.0',
  glance: { replicas: 1, requests: { storage: '100G' }, storageClassName: 'local-path' },
  vpcAgent: { image: `${IMAGES}/vpcagent:v3.1.3-20200312.0`, imagePullPolicy: 'Always' },
  updateStrategy: { autoRollback: true, window: { cron: '0 2 * * sat', durationMinutes: 120, timeZone: 'Asia/Shanghai' } },
};

/** The installation without an operator: `node --import tsx examples/onecloud.ts` writes lib/onecloud/. */
export function onecloud(app: App): OnecloudCluster {
  return new OnecloudCluster(app, 'onecloud', { spec: onecloudSpec });
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const app = new App({ outdir: 'lib/onecloud' });
  onecloud(app);
  app.synth();
}
