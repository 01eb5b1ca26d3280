/** What an API server may refuse at any moment, on virtual time: told by condition and event, nothing half done, and no flood of writes. */
import { afterEach, describe, expect, it } from 'vitest';
import { ApiError } from '../../../src/operator/engine/api-error.ts';
import { resourceTypes } from '../../../src/operator/engine/resource-types.ts';
import { makeAuthority } from '../../../src/operator/onecloud/certificates.ts';
import { seededRandom } from '../../../src/simulator/random.ts';
import type { FakeRequest } from '../fake-api.ts';
import { Lab, NAMESPACE, V1, V2 } from './lab.ts';

let lab = new Lab();
afterEach(async () => {
  lab.api.fault = undefined;
  await lab.stop();
  lab = new Lab();
});

const isWrite = ({ verb }: FakeRequest): boolean => verb !== 'get' && verb !== 'list' && verb !== 'watch';
const forbidden = (message: string): ApiError => new ApiError('forbidden', message, { status: 403, reason: 'Forbidden' });

describe('what the API server refuses', { timeout: 60_000 }, () => {
  it('Secrets: told before any workload is begun, and taken up again when they may be written', async () => {
    lab.api.fault = (request) =>
      isWrite(request) && request.kind === 'Secret' ? forbidden('secrets "default-ca" is forbidden: exceeded quota: limits') : undefined;
    await lab.start();
    await lab.clock.runFor(60_000);
    expect(lab.status.phase).toBe('Degraded');
    expect(lab.condition('Degraded')).toMatchObject({ status: 'True', reason: 'PassFailed', observedGeneration: 1 });
    expect(lab.condition('Degraded')?.message).toMatch(/^OPERATOR_FORBIDDEN: .*exceeded quota: limits\. .*look at the quota/);
    expect(lab.stories).toContainEqual({ reason: 'PassFailed', note: expect.stringContaining('exceeded quota') });
    expect(lab.api.all('Deployment')).toEqual([]);
    lab.api.fault = undefined;
    await lab.until('Running');
    expect(lab.condition('Degraded')).toMatchObject({ status: 'False' });
    expect(lab.status.history).toMatchObject([{ to: V1, outcome: 'Succeeded' }]);
  });

  it('Secrets that an admission webhook finds wrong: told as well, without its words, which may quote one', async () => {
    lab.api.fault = (request) =>
      isWrite(request) && request.kind === 'Secret'
        ? new ApiError('invalid', 'admission webhook "policy.example.org" denied the request: hunter2 is short', { status: 400 })
        : undefined;
    await lab.start();
    await lab.clock.runFor(60_000);
    expect(lab.condition('Degraded')).toMatchObject({ status: 'True', reason: 'PassFailed' });
    expect(lab.condition('Degraded')?.message).toMatch(/^OPERATOR_INVALID_OBJECT: The API server refuses Secret onecloud\/default-/);
    expect(JSON.stringify([lab.status, lab.stories])).not.toContain('hunter2');
    lab.api.fault = undefined;
    await lab.until('Running');
  });

  it('a certificate under an authority that cannot sign it: told, and never made anew at each pass', async () => {
    const [own, other] = ['own', 'other'].map((name) => makeAuthority(name, { clock: lab.clock, random: seededRandom(name) }));
    const encode = (text = ''): string => Buffer.from(text).toString('base64');
    const authority = { namespace: NAMESPACE, name: 'default-ca' };
    const data = { 'ca.crt': encode(own?.certificate), 'ca.key': encode(other?.key) };
    await lab.api.create(
      resourceTypes.secrets,
      { apiVersion: 'v1', kind: 'Secret', metadata: authority, data },
      { fieldManager: 'kubectl' },
    );
    await lab.start();
    await lab.clock.runFor(600_000);
    expect(lab.condition('Degraded')).toMatchObject({ reason: 'PassFailed', message: expect.stringContaining('Secret default-ca') });
    expect(lab.object('Secret', 'default-certs')).toBeUndefined();
    await lab.api.patch(resourceTypes.secrets, authority, { data: { 'ca.key': encode(own?.key) } }, { fieldManager: 'kubectl' });
    await lab.until('Running');
    const certificates = lab.object('Secret', 'default-certs');
    await lab.patch({ metadata: { annotations: { look: 'again' } } });
    await lab.clock.runFor(60_000);
    expect(lab.object('Secret', 'default-certs')).toEqual(certificates);
  });

  it('one component in mid-upgrade: its old pods and what comes after it stay, and the upgrade ends when it may', async () => {
    await lab.start();
    await lab.until('Running');
    lab.api.fault = ({ verb, kind, key }) =>
      verb === 'apply' && kind === 'Deployment' && key.endsWith('/default-region')
        ? forbidden('deployments.apps "default-region" is forbidden: User "operator" cannot patch resource')
        : undefined;
    await lab.patch({ spec: { version: V2 } });
    await lab.until('Degraded');
    await lab.clock.runFor(60_000);
    expect([lab.image('keystone'), lab.image('region'), lab.image('glance')].map((image) => String(image).split(':').at(-1))).toEqual([
      V2,
      V1,
      V1,
    ]);
    expect(lab.condition('Degraded')?.message).toMatch(
      /region: OPERATOR_FORBIDDEN: .*cannot patch resource.*Give the operator’s service account/,
    );
    expect(lab.stories).toContainEqual({ reason: 'ComponentFailed', note: expect.stringContaining('region: OPERATOR_FORBIDDEN') });
    expect(lab.stories).toContainEqual({ reason: 'RolloutFailed', note: expect.stringContaining('ONECLOUD_COMPONENT_FAILED: region') });
    expect(lab.status.version).toBe(V1);
    lab.api.fault = undefined;
    await lab.until('Running');
    expect(lab.image('glance')).toMatch(new RegExp(`:${V2}$`));
    expect(lab.status.history?.at(-1)).toMatchObject({ from: V1, to: V2, outcome: 'Succeeded' });
    expect(lab.status.history?.at(-1)).not.toHaveProperty('message'); // of the failure that is over
  });

  it('what a component will need: told while the layers before it still start, which it does not disturb', async () => {
    lab.api.fault = ({ verb, kind, key }) =>
      verb === 'apply' && kind === 'Service' && key.endsWith('/default-glance')
        ? forbidden('provided port is already allocated')
        : undefined;
    await lab.start();
    await lab.clock.runFor(2_000);
    expect(lab.status).toMatchObject({
      phase: 'Installing',
      components: { glance: { phase: 'Waiting' }, keystone: { phase: 'Progressing' } },
    });
    expect(lab.status.components?.glance?.message).toMatch(/^waits for keystone; OPERATOR_FORBIDDEN: .*already allocated/);
    expect(lab.stories).toContainEqual({ reason: 'ComponentFailed', note: expect.stringContaining('already allocated') });
    expect(lab.status.history).toMatchObject([{ to: V1, outcome: 'InProgress' }]);
    lab.api.fault = undefined;
    await lab.until('Running');
    expect(lab.status.history).toMatchObject([{ to: V1, outcome: 'Succeeded' }]);
  });

  it('for an hour: as good as nothing is written about it', async () => {
    lab.api.fault = ({ verb, kind }) => (verb === 'apply' && kind === 'Service' ? forbidden('exceeded quota: limits') : undefined);
    await lab.start();
    await lab.clock.runFor(120_000);
    const before = lab.api.requests.length;
    await lab.clock.runFor(3_600_000);
    const since = lab.api.requests.slice(before).filter(isWrite);
    const tried = since.filter(({ kind }) => kind === 'Service').length;
    expect(tried).toBeGreaterThan(5);
    expect(tried).toBeLessThan(60); // half a minute apart at first, then five
    // one story at a time, counted up and not told anew
    expect(since.filter(({ kind }) => kind === 'Event').length).toBeLessThan(2 * tried + 12);
    expect(since.filter(({ kind }) => kind !== 'Service' && kind !== 'Event')).toEqual([]);
  });

  it('an API server that is too busy: nothing is told, and everything ends well', async () => {
    let asked = 0;
    lab.api.fault = (request) => {
      asked += isWrite(request) ? 1 : 0;
      return isWrite(request) && asked % 3 === 0 ? new ApiError('throttled', 'too many requests', { status: 429 }) : undefined;
    };
    await lab.start();
    await lab.until('Running', 7_200_000);
    expect(lab.stories.filter(({ reason }) => reason === 'PassFailed' || reason === 'ComponentFailed')).toEqual([]);
    expect(lab.status.history).toMatchObject([{ to: V1, outcome: 'Succeeded' }]);
  });
});
