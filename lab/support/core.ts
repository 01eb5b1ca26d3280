/** A real bms-core on the lab's network: its own process, its own configuration file, DHCP, TFTP, HTTP, IPMI and iSCSI on the real ports. */
import type { ChildProcess } from 'node:child_process';
import { constants, copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { LabNetwork } from './namespace.ts';

export const PROJECT = join(dirname(fileURLToPath(import.meta.url)), '../..');
const API_PORT = 7081;
const PREFIX = '10.77.0';
export const SERVER = `${PREFIX}.1`;

export interface CoreOptions {
  readonly network: LabNetwork;
  readonly folder: string;
  readonly cipherSuite: 3 | 17;
  /** Files of [pxe] user_image_dir and deploy_image_dir, by name. */
  readonly images: Readonly<Record<string, string>>;
  readonly deployImages: Readonly<Record<string, string>>;
  /** Fills the boot root with loaders. */
  readonly loaders: (folder: string) => void;
  /** More lines of the configuration, by section. */
  readonly settings?: Readonly<Record<string, readonly string[]>>;
  readonly onLog?: (line: string) => void;
  /** In place of bms-core's own program. */
  readonly program?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export class ApiRefusal extends Error {}

export class Core {
  private process: ChildProcess | undefined;
  private requests = 0;

  private constructor(private readonly options: CoreOptions) {}

  /** Resolves when it is ready. */
  static async start(options: CoreOptions): Promise<Core> {
    const { folder, images, deployImages, loaders } = options;
    const boot = join(folder, 'tftpboot');
    for (const name of ['user_images', 'deploy_image_template']) mkdirSync(join(boot, name), { recursive: true });
    loaders(boot);
    for (const [name, file] of Object.entries(images)) place(file, join(boot, 'user_images', name));
    for (const [name, file] of Object.entries(deployImages)) place(file, join(boot, 'deploy_image_template', name));
    const core = new Core(options);
    core.configure();
    await core.run();
    return core;
  }

  /** Where bmctl finds it. */
  get url(): string {
    return `http://127.0.0.1:${API_PORT}`;
  }

  /** 0 where it does not run. */
  get pid(): number {
    return this.process?.pid ?? 0;
  }

  /** Throws ApiRefusal with the answer's text unless it is a success. */
  async api<T>(method: string, path: string, body?: unknown): Promise<T> {
    const { network, folder } = this.options;
    const file = join(folder, `request-${this.requests++}`);
    // by a file, not as an argument: it may hold the password of a BMC
    if (body !== undefined) writeFileSync(file, JSON.stringify(body), { mode: 0o600 });
    const sent = body === undefined ? [] : ['--header', 'content-type: application/json', '--data-binary', `@${file}`];
    const options = ['--silent', '--show-error', '--fail-with-body', '--max-time', '60', '--request', method];
    const { code, output } = await network.namespace.exec(['curl', ...options, ...sent, `${this.url}${path}`]);
    if (body !== undefined) rmSync(file);
    if (code !== 0) throw new ApiRefusal(`${method} ${path}: ${output.trim()}`);
    return (output === '' ? undefined : JSON.parse(output)) as T;
  }

  /** bmctl, as a person would ask it. */
  async bmctl(...argv: string[]): Promise<string> {
    const command = [process.execPath, '--import', 'tsx', 'src/cli/bmctl.ts', '--api', this.url, ...argv];
    const child = this.options.network.namespace.spawn(command, { cwd: PROJECT });
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (text += chunk.toString()));
    await new Promise((resolve) => child.once('close', resolve));
    return text;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.process;
    this.process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return; // one that has ended already says so no more
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await exited;
  }

  async run(): Promise<void> {
    const { network, folder, onLog, program = 'src/runtime/bin/bms-core.ts', environment } = this.options;
    const command = [process.execPath, '--import', 'tsx', program, '--config', join(folder, 'bms-core.ini')];
    const child = network.namespace.spawn(command, { cwd: PROJECT, env: { LOG_LEVEL: process.env.LAB_LOG ?? 'info', ...environment } });
    this.process = child;
    let rest = '';
    let said = '';
    const hear = (chunk: Buffer): void => {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        said = `${said}${line}\n`.slice(-4000);
        onLog?.(line);
      }
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    for (let tries = 0; ; tries++) {
      if (child.exitCode !== null) throw new Error(`bms-core does not start:\n${said}`);
      const { code } = await network.namespace.exec(['curl', '--silent', '--fail', '--max-time', '5', `${this.url}/readyz`]);
      if (code === 0) return;
      if (tries > 150) throw new Error(`bms-core is not ready:\n${said}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  private configure(): void {
    const { folder, cipherSuite, settings = {} } = this.options;
    const sections: Record<string, readonly string[]> = {
      DEFAULT: [`server_port = ${API_PORT}`],
      pxe: [
        `tftpboot_dir = ${folder}/tftpboot`,
        `user_image_dir = ${folder}/tftpboot/user_images`,
        `deploy_image_dir = ${folder}/tftpboot/deploy_image_template`,
      ],
      boot: ['append_params = nofb nomodeset vga=normal quiet console=ttyS0'],
      sw_coordination: ['backend_url = memory://'],
      api: ['address = 127.0.0.1'],
      dhcp: [
        'mode = server',
        `server_ip = ${SERVER}`,
        `subnet = ${PREFIX}.0/24`,
        `range_start = ${PREFIX}.100`,
        `range_end = ${PREFIX}.199`,
      ],
      ipmi: [`cipher_suite = ${cipherSuite}`],
      store: [`url = sqlite:////${folder.slice(1)}/state/bms.db`],
      image_cache: [`dir = ${folder}/cache`],
    };
    for (const [section, lines] of Object.entries(settings)) sections[section] = [...(sections[section] ?? []), ...lines];
    mkdirSync(join(folder, 'state'), { recursive: true });
    const text = Object.entries(sections).map(([section, lines]) => `[${section}]\n${lines.join('\n')}\n`);
    writeFileSync(join(folder, 'bms-core.ini'), text.join('\n'));
  }
}

function place(source: string, target: string): void {
  copyFileSync(source, target, constants.COPYFILE_FICLONE);
}
