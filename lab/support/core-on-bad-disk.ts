/**
 * bms-core on a management node whose disk or memory turns a bit over: everything is as in bin/bms-core.ts, but while the file `LAB_BAD_FLAG` is there, byte
 * `LAB_BAD_BYTE` of every image reads wrong. Nothing about the file shows it, as nothing about a bad disk does.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { bmsCoreConfig } from 'cdk8s-baremetal-contract';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { nodeRandom } from 'cdk8s-baremetal-runtime/core/node-random';
import { type DiskImage, openImage } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { startBmsCore } from 'cdk8s-baremetal-runtime/main';

const { values } = parseArgs({ options: { config: { type: 'string', default: '' } } });
const config = bmsCoreConfig.parse(readFileSync(values.config, 'utf8'), { file: values.config, env: {} });
const badByte = Number(process.env.LAB_BAD_BYTE);
const flag = process.env.LAB_BAD_FLAG ?? '';

const core = await startBmsCore({
  config,
  memberName: 'bad-disk',
  serverAddress: config.dhcp.server_ip ?? '',
  stateDirectory: dirname(`/${config.store.url.replace(/^sqlite:\/+/, '')}`),
  network: nodeNetwork,
  clock: nodeClock,
  random: nodeRandom,
  logger: silentLogger,
  openImage: async (options) => onBadDisk(await openImage(options)),
});
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void core.close().then(() => process.exit(0)));

function onBadDisk(image: DiskImage): DiskImage {
  const read: DiskImage['read'] = async (offset, length, into) => {
    const bytes = await image.read(offset, length, into);
    const at = badByte - offset;
    if (at >= 0 && at < length && existsSync(flag)) bytes[at] = (bytes[at] ?? 0) ^ 1;
    return bytes;
  };
  return {
    format: image.format,
    file: image.file,
    virtualSizeBytes: image.virtualSizeBytes,
    extents: () => image.extents(),
    close: () => image.close(),
    read,
  };
}
