/**
 * How long a container's start takes before its service runs, against what kolla's Python must cost at least.
 *
 *     node --import tsx bench/launch.ts
 *
 * The peer is a LOWER BOUND, not kolla: the interpreter, the modules that kolla_set_configs imports, and the same copies
 * with shutil, without its logging, validation, comparison or record of defaults. With KOLLA_SET_CONFIGS=/path/to/set_configs.py
 * the real program is measured too. Needs root (it starts containers of its own) and Debian's python3-yaml.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildLaunch } from '../scripts/build-launch.ts';
import { Container, canContain } from '../test/runtime/launch/container.ts';
import { entry } from '../test/runtime/launch/sandbox.ts';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7);
const RUNS = Number(process.env.BENCH_RUNS ?? 20);

const LOWER_BOUND = `
import argparse, glob, grp, json, logging, os, pwd, re, shutil, sys
if YAML: import yaml
logging.basicConfig()
base = '/var/lib/kolla/config_files/config.'
config = yaml.safe_load(open(base + 'yaml')) if FILE == 'yaml' else json.load(open(base + 'json'))
for data in config['config_files']:
    for source in glob.glob(data['source']):
        dest = data['dest']
        if os.path.lexists(dest): os.remove(dest)
        if not os.path.exists(os.path.dirname(dest)): os.makedirs(os.path.dirname(dest))
        shutil.copy(source, dest)
        os.chown(dest, pwd.getpwnam(data['owner']).pw_uid, grp.getgrnam(data['owner']).gr_gid)
        os.chmod(dest, int(data['perm'], 8))
with open('/run_command', 'w+') as f: f.write(config['command'])
os.chmod('/run_command', 0o644)
`;
const START = `#!/bin/bash
set -o errexit
python3 /srv/bin/lower-bound.py
CMD=$(cat /run_command)
ARGS=""
if [[ ! "\${!KOLLA_SKIP_EXTEND_START[@]}" ]]; then . kolla_extend_start; fi
echo "Running command: '\${CMD}\${ARGS:+ $ARGS}'"
exec \${CMD} \${ARGS}
`;

interface Row {
  readonly what: string;
  readonly ours: string;
  readonly peer: string;
  /** Shell commands before each run, not timed. */
  readonly before?: string;
}

/** A container as its image leaves it: nothing configured yet. */
const FRESH = 'rm -rf /etc/nova /etc/kolla /run_command*';
/** Every file of the config has changed since the last start. */
const EDITED = 'for f in /var/lib/kolla/config_files/*.conf; do printf "# %s\\n" $i >>$f; done';

const directory = mkdtempSync(join(tmpdir(), 'bench-launch-'));
let container: Container | undefined;
try {
  if (!canContain) throw new Error('root is needed');
  const sizes = await buildLaunch(directory);
  container = new Container(directory);
  const lines = ['| | ours ms | peer ms | ours ÷ peer | range over rounds |', '|---|---|---|---|---|'];
  lines.push(...(await measure(container)));
  console.log(lines.join('\n'));
  console.log(
    `\n${ROUNDS} rounds of ${RUNS} starts each, medians. Bundles: ${sizes.map(({ file, bytes }) => `${file} ${bytes} bytes`).join(', ')}.`,
  );
} finally {
  container?.remove();
  rmSync(directory, { recursive: true, force: true });
}

async function measure(box: Container): Promise<string[]> {
  const lines: string[] = [];
  const real = process.env.KOLLA_SET_CONFIGS;
  if (real) box.program('real.py', readFileSync(real, 'utf8'));
  box.program('kolla_extend_start', 'mkdir -p /var/log/kolla/nova\n', 0o644);
  box.program('peer_start', START);
  box.program('null.cjs', '');
  const bound = (file: 'json' | 'yaml', yaml: boolean) => `FILE = '${file}'\nYAML = ${yaml ? 'True' : 'False'}\n${LOWER_BOUND}`;

  lines.push(row({ what: 'bare interpreter', ours: '/opt/launch/node /srv/bin/null.cjs', peer: 'python3 -c 0' }, box));
  for (const count of [1, 200]) {
    const names = Array.from({ length: count }, (_, index) => `${index}.conf`);
    for (const name of names) box.source(name, `[DEFAULT]\n${'key = value\n'.repeat(100)}`);
    const config = { command: 'true', config_files: names.map((name) => entry(name, `/etc/nova/${name}`)) };
    box.config(config);
    const files = count === 1 ? '1 file' : `${count} files`;
    const program = { ours: 'kolla_set_configs', peer: 'python3 /srv/bin/lower-bound.py' };
    box.program('lower-bound.py', bound('json', true));
    lines.push(row({ what: `set-configs, ${files}, first start`, ...program, before: FRESH }, box));
    lines.push(row({ what: `set-configs, ${files}, restart, nothing edited`, ...program }, box));
    lines.push(row({ what: `set-configs, ${files}, restart, every file edited`, ...program, before: EDITED }, box));
    if (real)
      lines.push(
        row(
          { what: `set-configs, ${files}, first start, the real peer`, ...program, peer: 'python3 /srv/bin/real.py', before: FRESH },
          box,
        ),
      );
    if (real) lines.push(row({ what: `set-configs, ${files}, restart, the real peer`, ...program, peer: 'python3 /srv/bin/real.py' }, box));
    lines.push(row({ what: `set-configs and start, ${files}, first start`, ours: 'kolla_start', peer: 'peer_start', before: FRESH }, box));
    box.program('lower-bound.py', bound('json', false));
    lines.push(row({ what: `set-configs, ${files}, first start, peer without YAML (before 2026)`, ...program, before: FRESH }, box));
    // JSON is YAML: the same text through the other parser
    box.source('config.yaml', JSON.stringify(config));
    box.program('lower-bound.py', bound('yaml', true));
    lines.push(row({ what: `set-configs, ${files}, config.yaml, first start`, ...program, before: FRESH }, box));
    rmSync(box.at('/var/lib/kolla/config_files/config.yaml'));
  }
  const prepared = 'env KOLLA_PREPARED= kolla_start';
  lines.push(
    row({ what: 'start alone, prepared by an init container (peer: bash that does nothing)', ours: prepared, peer: 'bash -c :' }, box),
  );
  return lines;
}

/** Alternates the two, so that another load on the machine hits both. */
function row({ what, ours, peer, before = '' }: Row, box: Container): string {
  const rounds = Array.from({ length: ROUNDS }, () => ({ ours: timeOf(ours, before, box), peer: timeOf(peer, before, box) }));
  const middle = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
  const ratios = rounds.map((round) => round.ours / round.peer).sort((a, b) => a - b);
  const shown = [middle(rounds.map((round) => round.ours)), middle(rounds.map((round) => round.peer))].map((value) => value.toFixed(1));
  const range = `${ratios.at(0)?.toFixed(2)} – ${ratios.at(-1)?.toFixed(2)}`;
  return `| ${what} | ${shown.join(' | ')} | ${middle(ratios).toFixed(2)} | ${range} |`;
}

/** Milliseconds of one run, from a loop inside the container; entering it and what `before` does are not counted. */
function timeOf(command: string, before: string, box: Container): number {
  const script = `
    total=0
    for ((i = 0; i < ${RUNS}; i++)); do
      ${before || ':'}
      from=\${EPOCHREALTIME/./}
      ${command} >/dev/null 2>&1 || exit 1
      total=$((total + \${EPOCHREALTIME/./} - from))
    done
    echo $total`;
  const [program = '', ...args] = box.commandLine(['bash', '-c', script]);
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`"${command}" failed: ${stderr}`);
  return Number(stdout) / 1000 / RUNS;
}
