/** A ramdisk over HTTP, beside nginx with sendfile: curl as client, one and fifty at once. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cpuSeconds, head, row, takeTurns } from './boot-measure.ts';

const MB = 1_000_000;
/** What is measured is a service that runs: its code compiled, its cache filled. Each is also read for what it says. */
const WARM_UPS = 4;

interface Contender {
  readonly name: string;
  readonly url: string;
  readonly process: ChildProcess;
}

export async function httpFigures({ quick, rounds }: { quick: boolean; rounds: number }): Promise<void> {
  const bytes = (quick ? 20 : 100) * MB;
  const root = mkdtempSync(join(tmpdir(), 'http-bench-'));
  const contenders: Contender[] = [];
  try {
    chmodSync(root, 0o755);
    const content = createHash('sha256');
    for (let written = 0; written < bytes; written += 10 * MB) {
      const piece = randomBytes(10 * MB);
      content.update(piece);
      appendFileSync(join(root, 'ramdisk'), piece, { mode: 0o644 });
    }
    const sha256 = content.digest('hex');
    contenders.push(await startOurs(root));
    const nginx = await startNginx(root);
    if (nginx) contenders.push(nginx);
    for (const { name, url } of contenders)
      for (let time = 0; time < WARM_UPS; time++)
        if ((await hashOf(`${url}/ramdisk`)) !== sha256) throw new Error(`${name} does not send what is in the file`);
    const names = contenders.map(({ name }) => name);
    console.log(`\n${head(`HTTP, ramdisk of ${bytes / MB} MB`, names)}`);
    for (const clients of [1, 50]) {
      const results = await takeTurns(
        contenders,
        clients === 1 ? rounds * 3 : Math.min(rounds, 3),
        async ({ name, url, process: { pid } }) => {
          const cpuBefore = cpuSeconds(pid);
          const start = process.hrtime.bigint();
          const sizes = await Promise.all(Array.from({ length: clients }, () => download(`${url}/ramdisk`)));
          const seconds = Number(process.hrtime.bigint() - start) / 1e9;
          if (sizes.some((size) => size !== bytes)) {
            console.warn(`${name}: not every download was whole`);
            return undefined;
          }
          const all = bytes * clients;
          return { rate: all / MB / seconds, cpu: ((cpuSeconds(pid) - cpuBefore) / all) * 1e9 };
        },
      );
      console.log(row(`${clients} client${clients > 1 ? 's' : ''}`, names, results));
    }
  } finally {
    // nginx still writes below the folder until it has ended
    const ended = contenders.map(({ process: child }) => once(child, 'exit'));
    for (const { process: child } of contenders) child.kill('SIGTERM');
    await Promise.all(ended);
    rmSync(root, { recursive: true });
  }
}

async function hashOf(url: string): Promise<string> {
  const hash = createHash('sha256');
  const { body } = await fetch(url);
  for await (const piece of body ?? []) hash.update(piece);
  return hash.digest('hex');
}

function download(url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn('curl', ['-s', '-o', '/dev/null', '-w', '%{size_download}', url], { stdio: ['ignore', 'pipe', 'ignore'] });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += String(chunk);
    });
    child.once('error', reject);
    child.once('close', () => resolve(Number(text)));
  });
}

async function startOurs(root: string): Promise<Contender> {
  const script = fileURLToPath(new URL('boot-server.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', script, 'http', root], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = await new Promise<number>((resolve) => child.stdout?.once('data', (text) => resolve(Number(String(text)))));
  return { name: 'ours', url: `http://127.0.0.1:${port}`, process: child };
}

async function startNginx(root: string): Promise<Contender | undefined> {
  if (spawnSync('nginx', ['-v'], { stdio: 'ignore' }).error !== undefined) {
    console.warn('nginx is missing (package nginx-light): left out');
    return undefined;
  }
  const port = 17_080;
  const conf = [
    'daemon off; user root; worker_processes auto; error_log /dev/null crit;',
    `pid ${root}/nginx.pid; events { worker_connections 1024; }`,
    `http { access_log off; sendfile on; tcp_nopush on; server { listen 127.0.0.1:${port}; root ${root}; } }`,
  ];
  writeFileSync(join(root, 'nginx.conf'), conf.join('\n'));
  const child = spawn('nginx', ['-p', root, '-c', join(root, 'nginx.conf')], { stdio: ['ignore', 'ignore', 'inherit'] });
  await new Promise((resolve) => setTimeout(resolve, 500));
  return { name: 'nginx', url: `http://127.0.0.1:${port}`, process: child };
}
