import { CodedError } from 'cdk8s-baremetal-contract';
import { json, type Route, router } from 'cdk8s-baremetal-runtime/api/index';
import { type Logger, silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { askerOf } from './ask.ts';

const logged: unknown[] = [];
const logger: Logger = { ...silentLogger, error: (fields: unknown) => void logged.push(fields) };
const show =
  (what: string): Route['handle'] =>
  async (parameters) =>
    json(200, { what, parameters });

const ask = askerOf(
  router(
    [
      { method: 'GET', path: '/v1/things', handle: show('list') },
      { method: 'POST', path: '/v1/things', handle: show('create') },
      { method: 'GET', path: '/v1/things/:thing', handle: show('one') },
      { method: 'DELETE', path: '/v1/things/:thing', handle: show('delete') },
      { method: 'GET', path: '/v1/things/:thing/parts/:part', handle: show('part') },
      {
        method: 'GET',
        path: '/coded',
        handle: async () => {
          throw new CodedError('SOME_CODE', 'it is wrong', 'Make it right');
        },
      },
      {
        method: 'GET',
        path: '/broken',
        handle: async () => {
          throw new Error('the password is hunter2');
        },
      },
    ],
    logger,
  ),
);

describe('the router', () => {
  it.each([
    { request: 'GET /v1/things', status: 200, what: 'list', parameters: {} },
    { request: 'HEAD /v1/things', status: 200, what: 'list', parameters: {} },
    { request: 'POST /v1/things', status: 200, what: 'create', parameters: {} },
    { request: 'GET /v1/things/a', status: 200, what: 'one', parameters: { thing: 'a' } },
    { request: 'GET /v1/things/..', status: 200, what: 'one', parameters: { thing: '..' } }, // a name like any other: no file is near
    { request: 'DELETE /v1/things/a b', status: 200, what: 'delete', parameters: { thing: 'a b' } },
    { request: 'GET /v1/things/a/parts/7', status: 200, what: 'part', parameters: { thing: 'a', part: '7' } },
  ])('$request', async ({ request, status, what, parameters }) => {
    const [method = '', ...path] = request.split(' ');
    const answer = await ask(path.join(' '), method);
    expect(answer.status).toBe(status);
    expect(answer.json).toEqual({ what, parameters });
    expect(answer.headers['cache-control']).toBe('no-store');
  });

  it.each(['/', '/v1', '/v1/things/', '/v1/things//parts/1', '/v1/things/a/parts', '/V1/things', '//v1/things'])(
    '404: %s',
    async (path) => {
      const answer = await ask(path);
      expect(answer.status).toBe(404);
      expect(answer.json).toEqual({ error: { code: 'API_NO_ROUTE', message: expect.stringContaining(path), cure: expect.any(String) } });
    },
  );

  it('405 names what the path takes', async () => {
    const answer = await ask('/v1/things/a', 'PATCH');
    expect(answer.status).toBe(405);
    expect(answer.headers.allow).toBe('GET, DELETE');
    expect(answer.json).toMatchObject({ error: { code: 'API_METHOD' } });
  });

  it('400 with code and cure for what a handler refuses', async () => {
    const answer = await ask('/coded');
    expect(answer.status).toBe(400);
    expect(answer.json).toEqual({ error: { code: 'SOME_CODE', message: 'it is wrong', cure: 'Make it right' } });
  });

  it('500 that tells the client nothing of an unexpected failure, and the log all of it', async () => {
    const answer = await ask('/broken');
    expect(answer.status).toBe(500);
    expect(answer.text).not.toContain('hunter2');
    expect(logged).toEqual([{ path: '/broken', error: 'the password is hunter2' }]);
  });

  it('answers any path and method', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string(), fc.constantFrom('GET', 'PUT', 'OPTIONS', 'TRACE', 'get', ''), async (path, method) => {
        const { status } = await ask(`/${path}`, method);
        expect([200, 400, 404, 405, 500]).toContain(status);
      }),
      { numRuns: Number(process.env.FUZZ_RUNS ?? 500) },
    );
  });
});
