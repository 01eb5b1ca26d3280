/** Our DHCP, TFTP and HTTP boot in a namespace of the lab, and what they report. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type {
  BootExchange,
  BootMachine,
  DhcpBootSettings,
  DhcpExchange,
  DhcpSettings,
  TransferReport,
} from 'cdk8s-baremetal-runtime/boot/index';
import type { LabNetwork } from './namespace.ts';

export interface BootPlaneInput {
  readonly dhcp: DhcpSettings;
  readonly boot: DhcpBootSettings;
  readonly machines: readonly BootMachine[];
  /** The boot root. */
  readonly root: string;
}

export interface BootEvent {
  readonly dhcp?: DhcpExchange;
  readonly file?: BootExchange;
  readonly transfer?: TransferReport;
}

/** Resolves when everything listens; it ends with the network's namespace, or by `stop`. */
export async function startBootPlane(
  { namespace }: LabNetwork,
  input: BootPlaneInput,
  onEvent: (event: BootEvent) => void,
): Promise<{ stop(): Promise<void> }> {
  const script = fileURLToPath(new URL('boot-plane-main.ts', import.meta.url));
  const child = spawn('ip', ['netns', 'exec', namespace.name, process.execPath, '--import', 'tsx', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.stdin.end(JSON.stringify(input));
  await new Promise<void>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the boot plane ended with ${code}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const event = JSON.parse(line) as BootEvent & { listening?: true };
      if (event.listening) resolve();
      else onEvent(event);
    });
  });
  return {
    stop: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
