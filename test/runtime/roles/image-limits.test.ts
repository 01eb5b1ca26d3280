/** What [image_cache] says of the size of images reaches whoever opens one. */
import { writeFileSync } from 'node:fs';
import { newToken, tokenLine } from 'cdk8s-baremetal-runtime/api/index';
import type { OpenImageOptions } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { imageErrors } from 'cdk8s-baremetal-runtime/deploy/image/index';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CoreSite } from '../machine/core-site.ts';

let site: CoreSite;
beforeEach(() => {
  site = new CoreSite();
});
afterEach(() => site.close());

it.each([
  ['by default', {}, 1000e9],
  ['largest_disk_gb = 3', { image_cache: { largest_disk_gb: '3' } }, 3e9],
])('an image that is registered is opened with the bound, %s, and refused by its own code', async (_, settings, limit) => {
  const token = newToken(site.random);
  const tokens = `${site.folder}/tokens`;
  writeFileSync(tokens, tokenLine('tester', 'admin', token), { mode: 0o600 });
  const opened: OpenImageOptions[] = [];
  await site.start(
    { api: { tokens_file: tokens }, ...settings },
    {
      openImage: (options) => {
        opened.push(options);
        return Promise.reject(imageErrors.IMAGE_TOO_LARGE({ path: options.path, bytes: 2n ** 46n, limit }));
      },
    },
  );
  const client = site.network.host({ name: 'client', segment: 'lan', addresses: ['10.1.2.1/16'] });
  const { status, body } = await site.clock.run(
    client.request({
      method: 'POST',
      url: 'http://10.1.0.1:7081/v1/images',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ id: 'huge' }),
    }),
  );
  expect(opened.map(({ maxVirtualSizeBytes }) => maxVirtualSizeBytes)).toEqual([limit]);
  expect([status, JSON.parse(Buffer.from(body).toString()).error?.code ?? Buffer.from(body).toString()]).toEqual([422, 'IMAGE_TOO_LARGE']);
});
