import { openCoordination } from 'cdk8s-baremetal-runtime/coordination/index';
import { parseKazooUrl } from 'cdk8s-baremetal-runtime/coordination/zookeeper/kazoo-url';
import { nodeClock } from 'cdk8s-baremetal-runtime/core/node-clock';
import { describe, expect, it } from 'vitest';

describe('000-16: [sw_coordination] backend_url', () => {
  it.each([
    ['kazoo://192.168.1.250:2181', [{ host: '192.168.1.250', port: 2181 }], '/bms'],
    ['kazoo://zk-0.zk', [{ host: 'zk-0.zk', port: 2181 }], '/bms'],
    [
      'kazoo://a:1,b,[fd00::1]:3/site/one/',
      [
        { host: 'a', port: 1 },
        { host: 'b', port: 2181 },
        { host: 'fd00::1', port: 3 },
      ],
      '/site/one',
    ],
  ])('%s', (url, servers, path) => {
    expect(parseKazooUrl(url)).toEqual({ servers, path });
  });

  it.each([
    'kazoo://',
    'kazoo:///x',
    'kazoo://a:0',
    'kazoo://a:70000',
    'kazoo://a,,b',
    'kazoo://a/../b',
    'kazoo://a/b c',
    'kazoo://u@h',
    'etcd://x',
    '',
  ])('refuses "%s"', (url) => {
    expect(() => openCoordination(url, { clock: nodeClock })).toThrow(expect.objectContaining({ code: 'COORDINATION_URL' }));
  });

  it('opens without connecting, and closes what was never used', async () => {
    await openCoordination('kazoo://127.0.0.1:1', { clock: nodeClock }).close();
    const memory = openCoordination('memory://', { clock: nodeClock });
    await memory.close();
    await expect(memory.join('a')).rejects.toMatchObject({ code: 'COORDINATION_CLOSED' });
  });
});
