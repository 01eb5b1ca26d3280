import { companionImageOf, imageOf, parseImage, pullPolicyOf } from 'cdk8s-baremetal-contract/onecloud/index';
import { describe, expect, it } from 'vitest';

const settings = { imageRepository: 'registry.cn-beijing.aliyuncs.com/yunionio', version: 'v3.1.3-20200320.0', edition: 'ce' } as const;
const glance = { image: 'glance' };
const OWN = 'registry.cn-beijing.aliyuncs.com/yunionio/vpcagent:v3.1.3-20200312.0';

describe('004-6: the image of a component', () => {
  it.each([
    ['is derived from repository and version', glance, {}, 'registry.cn-beijing.aliyuncs.com/yunionio/glance:v3.1.3-20200320.0'],
    [
      'has the tag of its row before the version',
      { image: 'influxdb', tag: '1.7.7' },
      {},
      'registry.cn-beijing.aliyuncs.com/yunionio/influxdb:1.7.7',
    ],
    ['takes a tag', glance, { tag: 'dev' }, 'registry.cn-beijing.aliyuncs.com/yunionio/glance:dev'],
    [
      'takes a tag before that of its row',
      { image: 'influxdb', tag: '1.7.7' },
      { tag: '1.8' },
      'registry.cn-beijing.aliyuncs.com/yunionio/influxdb:1.8',
    ],
    ['takes a repository', glance, { repository: '10.127.10.156:5000/zexi' }, '10.127.10.156:5000/zexi/glance:v3.1.3-20200320.0'],
    ['takes a name', glance, { imageName: 'glance-x' }, 'registry.cn-beijing.aliyuncs.com/yunionio/glance-x:v3.1.3-20200320.0'],
    ['takes an image before everything else', { image: 'vpcagent' }, { image: OWN, tag: 'dev', repository: 'r', imageName: 'n' }, OWN],
  ])('%s', (_, row, overrides, expected) => {
    expect(imageOf(row, overrides, settings)).toBe(expected);
  });

  it('is derived again when its own is cleared', () => {
    expect(imageOf({ image: 'vpcagent' }, { image: undefined }, settings)).toBe(
      'registry.cn-beijing.aliyuncs.com/yunionio/vpcagent:v3.1.3-20200320.0',
    );
  });

  it('of the enterprise edition has the suffix -ee where there are two', () => {
    const ee = { ...settings, edition: 'ee' } as const;
    expect(imageOf({ image: 'web', editions: true }, {}, ee)).toMatch(/\/web-ee:/);
    expect(imageOf(glance, {}, ee)).toMatch(/\/glance:/);
    expect(imageOf({ image: 'web', editions: true }, { imageName: 'web' }, ee)).toMatch(/\/web:/);
  });

  it('is asked for again unless a digest names it', () => {
    expect(pullPolicyOf('a/b:v1', {})).toBe('Always');
    expect(pullPolicyOf(`a/b@sha256:${'0'.repeat(64)}`, {})).toBe('IfNotPresent');
    expect(pullPolicyOf('a/b:v1', { imagePullPolicy: 'Never' })).toBe('Never');
  });
});

describe('004-6: the image of a companion', () => {
  const plugins = { image: 'notify-plugins' };
  const main = (overrides: object): { row: { image: string }; overrides: object } => ({ row: { image: 'notify' }, overrides });

  it.each([
    ['the cluster', {}, {}, 'registry.cn-beijing.aliyuncs.com/yunionio/notify-plugins:v3.1.3-20200320.0'],
    ['the image of its component', { image: 'r.example:5000/x/notify:v3.1.2' }, {}, 'r.example:5000/x/notify-plugins:v3.1.2'],
    ['the tag of its component', { tag: 'v3.1.2' }, {}, 'registry.cn-beijing.aliyuncs.com/yunionio/notify-plugins:v3.1.2'],
    [
      'the cluster, since a digest tells no version',
      { image: `x/notify@sha256:${'a'.repeat(64)}` },
      {},
      'registry.cn-beijing.aliyuncs.com/yunionio/notify-plugins:v3.1.3-20200320.0',
    ],
    ['itself', { image: 'r/x/notify:v1' }, { image: 'mine/plugins:2' }, 'mine/plugins:2'],
    ['its own tag', { image: 'r/x/notify:v1' }, { tag: '2' }, 'r/x/notify-plugins:2'],
  ])('follows %s', (_, component, own, expected) => {
    expect(companionImageOf(plugins, own, main(component), settings)).toBe(expected);
  });

  it('with a tag of its row follows the repository alone', () => {
    const ovn = { image: 'openvswitch', tag: '2.9.6-2' };
    expect(companionImageOf(ovn, {}, main({ repository: 'mirror/y', tag: 'dev' }), settings)).toBe('mirror/y/openvswitch:2.9.6-2');
    expect(companionImageOf(ovn, {}, main({ image: 'r/x/host:v1' }), settings)).toBe(
      'registry.cn-beijing.aliyuncs.com/yunionio/openvswitch:2.9.6-2',
    );
  });
});

describe('the parts of an image', () => {
  it.each([
    ['yunionio/util', { repository: 'yunionio', name: 'util', tag: 'latest' }],
    ['reg/yunionio/web-ee:v2.12.0', { repository: 'reg/yunionio', name: 'web-ee', tag: 'v2.12.0' }],
    [
      '10.127.10.156:5000/yunionio/glance:v3.0.0-20200105.0',
      { repository: '10.127.10.156:5000/yunionio', name: 'glance', tag: 'v3.0.0-20200105.0' },
    ],
    ['reg/yunionio/climc:v1@sha256:abc', { repository: 'reg/yunionio', name: 'climc', tag: 'v1', digest: 'sha256:abc' }],
    ['localhost:5000/x', { repository: 'localhost:5000', name: 'x', tag: 'latest' }],
    ['busybox', { repository: '', name: 'busybox', tag: 'latest' }],
  ])('%s', (image, parts) => {
    expect(parseImage(image)).toEqual(parts);
  });
});
