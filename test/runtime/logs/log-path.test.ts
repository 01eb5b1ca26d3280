/**
 * 003-6, 003-7: the way of a log line, with our filebeat.yml, a real Redis and our pipeline. filebeat is a tailer of the tests' own
 * (test/support/tailer.ts) and logstash a reader of its configuration (test/support/logstash-config.ts): neither program is in
 * Debian. What they exchange is the real thing.
 */
import { appendFileSync, mkdirSync, truncateSync } from 'node:fs';
import { App, Chart } from 'cdk8s';
import { EnvironmentService, LogstashPipeline, type RedisList } from 'cdk8s-baremetal';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Plugin, parsePipeline, pluginsFor } from '../../support/logstash-config.ts';
import { RedisClient, type RedisServer, redisMissing, startRedis } from '../../support/redis-server.ts';
import { find, manifestsOf } from '../../support/synth.ts';
import { Tailer } from '../../support/tailer.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

if (redisMissing !== undefined) console.warn(`test/runtime/logs: ${redisMissing}: the path of the logs is not tested`);

const PASSWORD = 'of-the-test';
const LIST = 'logstash:redis';

describe.skipIf(redisMissing !== undefined)('003-6 003-7: from a log file to its index', () => {
  const folder = temporaryFolder();
  let server: RedisServer;
  let client: RedisClient;
  beforeAll(async () => {
    server = await startRedis(PASSWORD);
    client = await RedisClient.connect('127.0.0.1', server.port, PASSWORD);
  });
  afterAll(async () => {
    client.close();
    await server.close();
  });
  beforeEach(async () => {
    folder.create();
    mkdirSync(folder.path('log'));
    await client.call('FLUSHALL');
  });
  afterEach(folder.remove);

  const redis = (): RedisList => ({ hosts: [`127.0.0.1:${server.port}`], key: LIST, passwordSecret: 'logstash-redis' });
  const filebeatYml = (tag = 'posp_trade_c'): string => {
    const chart = new Chart(new App(), 'test');
    new EnvironmentService(chart, 'service', {
      release: 'accp',
      containerName: 'account-confirm',
      image: { repository: 'x', tag: '1' },
      proc: 'account_confirm',
      git: { project: 'https://h/p', revision: 'e'.repeat(40), directory: 'p' },
      runenv: 'pre',
      filebeat: { image: { repository: 'x', tag: '1' }, tags: [tag], redis: redis() },
    });
    return find(manifestsOf(chart), 'ConfigMap', 'accp-filebeat-config').data['filebeat.yml'];
  };
  const tailer = (config = filebeatYml()): Tailer =>
    new Tailer({ config, environment: { REDIS_PASSWORD: PASSWORD }, locate: (path) => folder.path(path), connect: RedisClient.connect });
  const log = (text: string, name = 'account_confirm.log'): void => appendFileSync(folder.path('log', name), text);
  const events = async (): Promise<Record<string, unknown>[]> => {
    const list = await client.call('LRANGE', LIST, '0', '-1');
    return (list as string[]).map((text) => JSON.parse(text));
  };

  it("the list holds filebeat's events: several lines are one, by the bracket they start with", async () => {
    log('[10:00:00] start\n[10:00:01] error\n  at a.c:1\n  at b.c:2\n[10:00:02] go on\n');
    const beat = tailer();
    expect(await beat.scan()).toBe(2); // the last may go on
    expect(await beat.scan(true)).toBe(1);
    const list = await events();
    expect(list.map(({ message }) => message)).toEqual([
      '[10:00:00] start',
      '[10:00:01] error\n  at a.c:1\n  at b.c:2',
      '[10:00:02] go on',
    ]);
    expect(list[1]).toMatchObject({
      '@timestamp': expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      '@metadata': { beat: 'filebeat' },
      log: { offset: 17, file: { path: '/log/account_confirm.log' }, flags: ['multiline'] },
      tags: ['posp_trade_c'],
      input: { type: 'filestream' },
    });
    expect(await client.call('TYPE', LIST)).toBe('list');
  });

  it('a small, new file is read at once', async () => {
    log('[1] x\n');
    expect(await tailer().scan(true)).toBe(1);
  });

  it('each line once: over rounds, half lines, more files, a rotation', async () => {
    const beat = tailer();
    log('[1] a\n[2] b');
    await beat.scan();
    log('c\n[3] d\n');
    log('[4] e\n', 'other.log');
    log('[5] no log\n', 'core.1');
    await beat.scan(true);
    await beat.scan(true);
    truncateSync(folder.path('log/other.log'));
    await beat.scan();
    log('[6] f\n', 'other.log');
    await beat.scan(true);
    expect((await events()).map(({ message }) => message)).toEqual(['[1] a', '[2] bc', '[3] d', '[4] e', '[6] f']);
  });

  it('the password is asked for by Redis and comes from the environment', async () => {
    log('[1] a\n');
    const wrong = new Tailer({
      config: filebeatYml(),
      environment: { REDIS_PASSWORD: 'no' },
      locate: (path) => folder.path(path),
      connect: RedisClient.connect,
    });
    await expect(wrong.scan(true)).rejects.toThrow('WRONGPASS');
    expect(filebeatYml()).not.toContain(PASSWORD);
    expect(() => new Tailer({ config: filebeatYml(), environment: {}, locate: (path) => path, connect: RedisClient.connect })).toThrow(
      'missing environment variable REDIS_PASSWORD',
    );
  });

  it.each(['of,the,test', '[of', '{the', '0123', '1e5', ' of the test ', '"test"', 'a\\b'])(
    'a password is taken as it is, though filebeat parses what variables hold: %s',
    async (password) => {
      log('[1] a\n');
      const given: (string | undefined)[] = [];
      const beat = new Tailer({
        config: filebeatYml(),
        environment: { REDIS_PASSWORD: password },
        locate: (path) => folder.path(path),
        connect: (host, port, used) => {
          given.push(used);
          return RedisClient.connect(host, port, PASSWORD);
        },
      });
      expect(await beat.scan(true)).toBe(1);
      expect(given).toEqual([password]);
    },
  );

  it("the original's configuration is refused", () => {
    const original =
      "filebeat.prospectors:\n- type: log\n  enable: true\n  paths:\n    - /log/*.log\noutput.redis:\n  hosts: '10.0.116.62'\n  port: 6379\n";
    expect(() => tailer(original)).toThrow('filebeat.prospectors is no option');
  });

  describe('and out of it again, as the pipeline says', () => {
    const pipeline = () => {
      const chart = new Chart(new App(), 'test');
      new LogstashPipeline(chart, 'logstash', {
        redis: redis(),
        indices: { posp_trade_c: 'posp-trade-c' },
        elasticsearch: { hosts: ['https://elasticsearch:9200'] },
      });
      return parsePipeline(find(manifestsOf(chart), 'ConfigMap', 'logstash-pipeline').data['posp.conf']);
    };

    it('every event reaches the index of its tag', async () => {
      const first = tailer();
      log('[1] trade\n  detail\n');
      await first.scan(true);
      const second = tailer(filebeatYml('unheard_of'));
      await second.scan(true);

      const { input, filter, output } = pipeline();
      const [source] = input as readonly Plugin[];
      expect(source?.settings).toMatchObject({ host: '127.0.0.1', port: server.port, data_type: 'list', key: LIST, codec: { json: {} } });
      const taken: [string, unknown, unknown][] = [];
      const consumer = await RedisClient.connect(String(source?.settings.host), Number(source?.settings.port), PASSWORD);
      // data_type list is BLPOP
      for (let reply = await consumer.call('LPOP', LIST); typeof reply === 'string'; reply = await consumer.call('LPOP', LIST)) {
        const event = JSON.parse(reply);
        const [mutate] = pluginsFor(filter, event);
        const fields = mutate?.settings.add_field as Record<string, string>;
        const [sink] = pluginsFor(output, event);
        const day = String(event['@timestamp']).slice(0, 10).replaceAll('-', '.');
        const index = String(sink?.settings.index)
          .replace('%{[@metadata][index]}', fields['[@metadata][index]'] ?? '')
          .replace('%{+YYYY.MM.dd}', day);
        taken.push([index.replace(day, 'DAY'), event.message, event.tags]);
      }
      consumer.close();
      expect(taken).toEqual([
        ['posp-trade-c-DAY', '[1] trade\n  detail', ['posp_trade_c']],
        ['unrouted-DAY', '[1] trade\n  detail', ['unheard_of']],
      ]);
      expect(await client.call('LLEN', LIST)).toBe(0);
    });
  });
});
