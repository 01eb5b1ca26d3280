/** The first boot's reading of its config drive, in the shells and awks that images have. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { networkData, resolveNetwork } from 'cdk8s-baremetal-contract/instance-network/index';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { afterAll, describe, expect, it } from 'vitest';
import { busyboxShell, dashShell } from './support.ts';

const base = mkdtempSync(join(tmpdir(), 'first-boot-'));
afterAll(() => rmSync(base, { recursive: true }));
const SCRIPT = 'images/disk-image/first-boot/first-boot';
const FLATTEN = 'images/disk-image/first-boot/json-lines.awk';
const shells = [busyboxShell(base), dashShell()].filter((shell) => shell !== undefined);
const awks = [['busybox', 'awk'], ['mawk'], ['gawk', '--posix'], ['original-awk']].filter(
  ([name = '']) => spawnSync(name, ['1'], { input: '' }).status === 0 || spawnSync('which', [name]).status === 0,
);

describe.each(awks.map((argv) => ({ name: argv.join(' '), argv })))(
  '002-16: JSON as lines, by $name',
  ({ argv: [program = '', ...first] }) => {
    const flat = (text: string) => spawnSync(program, [...first, '-f', FLATTEN], { input: text });

    it.each<[string, unknown, string[]]>([
      ['objects and arrays', { a: { b: [1, true, null, 'x'] } }, ['a.b.0=1', 'a.b.1=true', 'a.b.2=null', 'a.b.3=x']],
      ['what is empty', { a: {}, b: [], c: '' }, ['c=']],
      ['quotes and backslashes', { a: 'say "hi" \\ /' }, ['a=say "hi" \\ /']],
      ['a line break stays within its line', { a: 'one\ntwo\tthree' }, ['a=one two three']],
      ['structure inside of text', { a: '{"b": [1, 2]}, c' }, ['a={"b": [1, 2]}, c']],
    ])('%s', (_, value, lines) => {
      for (const text of [JSON.stringify(value), JSON.stringify(value, undefined, 2)]) {
        expect(flat(text).stdout.toString().split('\n').slice(0, -1)).toEqual(lines);
      }
    });

    it.each(['{"a": ', '{"a" 1}', '{a: 1}', '"unfinished', '[1 2]'])('fails on %j', (text) => {
      expect(flat(text).status).not.toBe(0);
    });
  },
);

describe.each(shells)('002-16: under $name', (shell) => {
  it('configures what the network data of an instance say, by hardware address', async () => {
    const folder = mkdtempSync(join(base, 'net-'));
    const macs = ['52:54:00:00:00:01', '52:54:00:00:00:02'];
    for (const [index, name] of ['ens5', 'ens6'].entries()) {
      mkdirSync(join(folder, 'net', name), { recursive: true });
      writeFileSync(join(folder, 'net', name, 'address'), `${macs[index]}\n`);
    }
    const network = resolveNetwork(
      {
        interfaces: [
          { on: 0, ipv4: { address: '10.0.0.5/22', gateway: '10.0.0.1' }, dns: ['10.0.0.2', '10.0.0.3'] },
          { on: 1, ipv4: 'dhcp' },
        ],
      },
      macs,
    );
    if (typeof network === 'string') throw new Error(network);
    writeFileSync(join(folder, 'network_data.json'), JSON.stringify(networkData(network), undefined, 2));
    const script = [
      'main() { :; }',
      'say() { echo "$1"; }',
      'ip() { echo "ip $*"; }',
      `udhcpc() { echo "$*" > ${folder}/udhcpc; }`,
      'cp() { :; }',
      // everything but its last line, which starts it
      `sed -e '$d' -e 's#/run/resolv.conf#${folder}/resolv.conf#' -e '/^say() {/,/^}/d' ${SCRIPT} > ${folder}/script`,
      `. ${folder}/script`,
      `latest=${folder}; flat network_data.json > ${folder}/flat`,
      `configure_links ${folder}/flat`,
      `cat ${folder}/resolv.conf`,
    ].join('\n');
    const { output } = await shell.run(script, { NET: join(folder, 'net'), BMS: 'images/disk-image/first-boot' });
    expect(output.split('\n').filter((line) => line !== '')).toEqual([
      'ip link set ens5 up',
      'ip address add 10.0.0.5/22 dev ens5',
      'ip route add default via 10.0.0.1 dev ens5',
      'BMS-MARKER ens5 has 10.0.0.5/22, static',
      'ip link set ens6 up',
      'BMS-MARKER ens6 by DHCP',
      'nameserver 10.0.0.2',
      'nameserver 10.0.0.3',
    ]);
    // without -q: it stays, and renews
    expect(readFileSync(join(folder, 'udhcpc'), 'utf8')).toBe('-i ens6 -n\n');
  });

  it.each([
    ['curl', 200, 0],
    ['curl', 410, 0],
    ['curl', 403, 1],
    ['wget', 200, 0],
    ['wget', 410, 0],
    ['wget', 403, 1],
  ] as const)(
    'by %s, an answer of %i to the word home ends with %i: 410 is the answer to an earlier try that was heard',
    async (by, status, expected) => {
      const heard: string[] = [];
      const server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, async ({ body }) => {
        heard.push(Buffer.from(body).toString());
        return { status, body: 'an answer' };
      });
      const folder = mkdtempSync(join(base, 'home-'));
      writeFileSync(join(folder, 'form'), 'token=t');
      try {
        const script = [
          `sed '$d' ${SCRIPT} > ${folder}/script; . ${folder}/script`,
          by === 'wget' ? 'command() { false; }' : '',
          `post ${folder}/form http://127.0.0.1:${server.local.port}/; echo "ended with $?"`,
        ];
        const { output } = await shell.run(script.join('\n'));
        expect([output, heard]).toEqual([`ended with ${expected}\n`, ['token=t']]);
      } finally {
        await server.close(0);
      }
    },
  );

  it.each([
    ['255.255.255.0', '24'],
    ['255.255.252.0', '22'],
    ['0.0.0.0', '0'],
    ['255.255.255.255', '32'],
    ['64', '64'],
  ])('the prefix of %s is %s', async (netmask, prefix) => {
    const { output } = await shell.run(`sed '$d' ${SCRIPT} > ${base}/prefix; . ${base}/prefix; prefix_of ${netmask}`);
    expect(output.trim()).toBe(prefix);
  });
});
