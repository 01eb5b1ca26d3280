/** ZooKeeper from Debian, each server a process of its own on loopback with a folder of its own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../../support/free-port.ts';

const JAR = '/usr/share/java/zookeeper.jar';
const TICK_MS = 200;

/** What is missing to run it here, as a sentence; undefined when nothing is. */
export function missingForZooKeeper(): string | undefined {
  if (spawnSync('java', ['-version']).status !== 0) return 'java is missing (Debian package default-jre-headless)';
  return existsSync(JAR) ? undefined : `${JAR} is missing (Debian package zookeeper)`;
}

export interface ZooKeeperProcess {
  readonly port: number;
  start(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Resolves when the process is gone. */
  kill(): Promise<void>;
  /** `leader`, `follower`, `standalone`; undefined when it does not serve. */
  role(): Promise<string | undefined>;
}

/** Servers that are not started yet; one stands alone, three are an ensemble. */
export async function zooKeeperServers(count: number, folder: string): Promise<ZooKeeperProcess[]> {
  const ports = await Promise.all(Array.from({ length: count * 3 }, freePort));
  const peers = Array.from({ length: count }, (_, i) => `server.${i + 1}=127.0.0.1:${ports[count + i]}:${ports[2 * count + i]}`);
  return Array.from({ length: count }, (_, i) => {
    const own = join(folder, `zookeeper-${i + 1}`);
    mkdirSync(own, { recursive: true });
    writeFileSync(join(own, 'myid'), `${i + 1}\n`);
    const config = join(own, 'zoo.cfg');
    const settings = [
      `tickTime=${TICK_MS}`,
      'initLimit=50',
      'syncLimit=10',
      'maxSessionTimeout=20000',
      `dataDir=${own}`,
      `clientPort=${ports[i]}`,
      'clientPortAddress=127.0.0.1',
      'admin.enableServer=false',
      ...(count > 1 ? peers : []),
    ];
    writeFileSync(config, `${settings.join('\n')}\n`);
    return server(config, ports[i] ?? 0);
  });
}

function server(config: string, port: number): ZooKeeperProcess {
  let child: ChildProcess | undefined;
  const role = async (): Promise<string | undefined> => /^Mode: (\w+)/m.exec(await ask(port, 'srvr'))?.[1];
  return {
    port,
    role,
    async start() {
      const java = ['-Xmx64m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', `/etc/zookeeper/conf:${JAR}`];
      child = spawn('java', [...java, 'org.apache.zookeeper.server.quorum.QuorumPeerMain', config], { stdio: 'ignore' });
      for (let i = 0; i < 200 && (await role()) === undefined; i++) await new Promise((resolve) => setTimeout(resolve, 50));
      if ((await role()) === undefined) throw new Error(`ZooKeeper on port ${port} does not serve`);
    },
    signal: (signal) => child?.kill(signal),
    async kill() {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const gone = new Promise((resolve) => child?.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/** A four-letter command; empty when nobody answers. */
function ask(port: number, command: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = createConnection({ host: '127.0.0.1', port, timeout: 500 });
    socket.on('connect', () => socket.write(command));
    socket.on('data', (data) => {
      answer += data.toString();
    });
    socket.on('timeout', () => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
  });
}
