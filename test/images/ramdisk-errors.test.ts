/** What a person reads when a machine cannot be deployed: each sentence on the console, and the same one at the deploy-helper. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from 'cdk8s-baremetal-runtime/core/index';
import { nodeNetwork } from 'cdk8s-baremetal-runtime/core/node-network';
import { type ClaimOutcome, deployHelper, type RamdiskReport } from 'cdk8s-baremetal-runtime/deploy/helper/index';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { busyboxShell, sourced } from './support.ts';

const base = mkdtempSync(join(tmpdir(), 'ramdisk-errors-'));
const shell = busyboxShell(base);
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
afterAll(() => rmSync(base, { recursive: true }));
let number = 0;
let machine: string;
beforeEach(() => {
  machine = join(base, `machine${number++}`);
  for (const folder of ['block', 'class/net', 'class/tty/console']) mkdirSync(join(machine, folder), { recursive: true });
  writeFileSync(join(machine, 'class/tty/console/active'), 'tty0 ttyS0 ttyS1 hvc0 ttyAMA0\n'); // all screens are this one
});

const MAC = '52:54:00:00:00:01';
/** The command line's words, as read. */
const ORDINARY = {
  IQN: 'iqn.2026-11.io.bms:d1',
  DEPLOYMENT_ID: '7',
  DEPLOYMENT_KEY: 'K3Y',
  BOOTIF: `01-${MAC.replaceAll(':', '-')}`,
  IP: '127.0.0.1:127.0.0.1::255.0.0.0',
  ISCSI_PORT: '3260',
};
const PARTS = ['say', 'cmdline', 'http', 'net', 'disk', 'facts', 'target', 'direct', 'lldp', 'restart', 'helper'] as const;
/** What this machine must not do for a test, and time, which does not pass. */
const STUBS = [
  'ip() { :; }; ifconfig() { :; }; route() { :; }; udhcpc() { return 1; }; load_drivers() { :; }; modprobe() { :; }; reboot() { exit 9; }',
  // a failure is shown for ever, once a minute; a machine that waits is one that nobody needs to watch any longer
  'sleep() { case $1 in 60 | 3600) exit 7 ;; esac; tick "$1"; }',
  'wait_for_done() { :; }; start_target() { :; }',
].join('\n');

function card(carrier: string): void {
  mkdirSync(join(machine, 'class/net/eth0/device'), { recursive: true });
  writeFileSync(join(machine, 'class/net/eth0/address'), `${MAC}\n`);
  writeFileSync(join(machine, 'class/net/eth0/carrier'), `${carrier}\n`);
}

function disk(name: string, bytes: number): void {
  mkdirSync(join(machine, 'block', name, 'queue'), { recursive: true });
  writeFileSync(join(machine, 'block', name, 'size'), `${bytes / 512}\n`);
}

async function helper(outcome: ClaimOutcome = { kind: 'accepted' }) {
  const errors: string[] = [];
  const reports: RamdiskReport[] = [];
  const handler = deployHelper({
    claimDeployment: async ({ error }) => {
      errors.push(error ?? 'none');
      return error === undefined ? outcome : { kind: 'accepted' };
    },
    acceptReport: async (report) => {
      reports.push(report);
      errors.push(report.error ?? 'none');
      return { kind: 'accepted', authorizedKeys: [] };
    },
    logger: silentLogger,
  });
  const server = await nodeNetwork.serveHttp({ address: '127.0.0.1', port: 0 }, handler);
  closers.push(() => server.close(0));
  return { port: server.local.port, errors, reports };
}

async function run(port: number, script: string, env: Record<string, string> = {}): Promise<string[]> {
  if (shell === undefined) throw new Error('no busybox');
  const paths = { SYS: machine, PROC: machine, RUN: machine };
  const whole = sourced(PARTS, `tick() { :; }\n${STUBS}\nHELPER_PORT=${port}\n${script}`);
  const { output } = await shell.run(whole, { ...ORDINARY, ...paths, ...env });
  return output.split('\n').filter((line) => line !== '');
}

describe.skipIf(shell === undefined)('002-13: N1: what went wrong stands on the console, and in the POST’s `e`', () => {
  it.each<[string, () => void, Record<string, string>, string]>([
    ['no disk', () => undefined, {}, 'Could not find disk to use.'],
    [
      'two disks and no word which',
      () => {
        disk('nvme0n1', 480e9);
        disk('nvme1n1', 960e9);
      },
      {},
      'Could not find disk to use: which of nvme0n1 (480 GB, without a serial number), nvme1n1 (960 GB, without a serial number)?',
    ],
    [
      'a disk that is not the one of the record',
      () => disk('sda', 480e9),
      { HINT_SERIAL: 'S-1' },
      'no disk fits the hints for the root disk; there is: sda (480 GB, without a serial number)',
    ],
  ])('%s', async (_, prepare, env, sentence) => {
    card('1');
    prepare();
    const { port, errors } = await helper();
    const lines = await run(port, 'deploy', env);
    expect(lines.slice(-2)).toEqual([`bms: FAILED: ${sentence}`, 'bms: the machine stays like this until its power is cut']);
    expect(errors).toEqual([sentence]);
  });

  it('an inspection says it in its own form', async () => {
    card('1');
    const { port, reports } = await helper();
    await run(port, 'ACTION=inspect; configure_network; fail "the fans are \\"loud\\""');
    expect(reports).toMatchObject([{ id: 7, key: 'K3Y', error: 'the fans are "loud"' }]);
  });

  it.each<[string, Record<string, string>, string]>([
    [
      'no interface to have booted from',
      { BOOTIF: '' },
      'BOOTIF is not on the kernel command line: which interface did the machine boot from?',
    ],
    [
      'a card without a driver',
      { BOOTIF: '01-52-54-00-00-00-99' },
      'no interface has the address 52:54:00:00:00:99 that the machine booted from: its driver is not in this ramdisk',
    ],
    ['no deployment', { DEPLOYMENT_ID: '' }, 'deployment_id is not on the kernel command line'],
    ['no target', { IQN: '' }, 'iscsi_target_iqn is not on the kernel command line'],
  ])('%s is for the console alone: there is no network to tell it over', async (_, env, sentence) => {
    card('1');
    const { port, errors } = await helper();
    expect(await run(port, 'deploy', env)).toContain(`bms: FAILED: ${sentence}`);
    expect(errors).toEqual([]);
  });

  it('a card without a carrier: after ten seconds, then every half a minute, and on as soon as the cable is in', async () => {
    card('0');
    const { port } = await helper();
    const lines = await run(
      port,
      `passed=0; tick() { passed=$((passed + $1)); [ $passed -lt 45 ] || echo 1 > ${machine}/class/net/eth0/carrier; }; configure_network`,
    );
    const sentence = `bms: eth0 (${MAC}) has no carrier: is its cable plugged in, and its switch port up?`;
    expect(lines).toEqual([sentence, sentence, 'bms: eth0 has 127.0.0.1; the deploy-helper is at 127.0.0.1']);
  });

  it('nobody who answers DHCP', async () => {
    card('1');
    const { port } = await helper();
    const lines = await run(port, 'tick() { [ "$asked" -lt 2 ] || exit; }; configure_network', { IP: '' });
    expect(lines).toEqual([1, 2].map((tries) => `bms: nobody answers DHCP on eth0 (${MAC}); tried ${tries} times`));
  });

  it('a lease by DHCP is kept by who got it: a long image, or a rescue, outlives it', async () => {
    card('1');
    const { port } = await helper();
    const answered = 'udhcpc() { echo "udhcpc $*"  >&3; printf "ip=127.0.0.1\\nsiaddr=127.0.0.1\\nserverid=\\n" > "$RUN/lease"; }';
    const [asked, ...lines] = await run(port, `exec 3>&1; ${answered}; configure_network`, { IP: '', HELPER: '' });
    expect(lines).toEqual(['bms: eth0 has 127.0.0.1; the deploy-helper is at 127.0.0.1']);
    expect(asked?.split(' ')).toContain('-n'); // gives up where nobody answers
    expect(asked?.split(' ')).not.toContain('-q'); // but does not go once somebody has
  });

  it('a deploy-helper that cannot be reached, until it can', async () => {
    const { port, errors } = await helper();
    // on another loopback address nobody listens yet
    const lines = await run(port, 'HELPER=127.0.0.9; tick() { HELPER=127.0.0.1; }; ADDRESS=127.0.0.1; post "$(deploy_form)"; echo posted');
    expect(lines).toEqual([
      expect.stringMatching(/^bms: the deploy-helper 127\.0\.0\.9:\d+ cannot be reached \(nc: .*refused\); trying again$/),
      'posted',
    ]);
    expect(errors).toEqual(['none']);
  });

  it.each<[string, ClaimOutcome, string]>([
    ['the wrong key', { kind: 'wrong-key' }, 'the deploy-helper answered 400: key is not match'],
    ['a key that was used', { kind: 'used' }, 'the deploy-helper answered 409: the key has been used already'],
    ['no such machine', { kind: 'unknown-node' }, 'the deploy-helper answered 404: there is no node 7'],
  ])('%s is final, and not told to who has said it', async (_, outcome, sentence) => {
    card('1');
    disk('sda', 480e9);
    const { port, errors } = await helper(outcome);
    expect(await run(port, 'deploy')).toContain(`bms: FAILED: ${sentence}`);
    expect(errors).toEqual(['none']);
  });

  it('troubleshoot=1 leaves a shell, and the sentence above it', async () => {
    const { port } = await helper();
    const lines = await run(port, 'setsid() { echo "$*"; }; fail "no luck"', { TROUBLESHOOT: '1', HELPER: '', DEPLOYMENT_KEY: '' });
    expect(lines.slice(0, 3)).toEqual([
      'bms: FAILED: no luck',
      'bms: troubleshoot=1: here is a shell; "reboot -f" starts again',
      'cttyhack sh',
    ]);
  });
});
