/** From a file name and who asks for it to bytes: the boot decision with its look-ups, shared by TFTP and HTTP. */
import type { Clock, Endpoint, Logger } from '../core/index.ts';
import { type BootDecision, type BootName, type BootSettings, bootName, decideBoot, type RefusalCode } from './decide-boot.ts';
import type { BootLease, BootMachine, BootMachines } from './machine.ts';
import { type FileSource, isRefusal, type TftpFile, type TftpRefusal } from './tftp/source.ts';

export interface BootContentOptions {
  readonly machines: BootMachines;
  /** The boot root: loaders, kernels, ramdisks. */
  readonly files: FileSource;
  /** Who holds a source address, as the DHCP service knows. */
  readonly leaseOf: (address: string) => BootLease | undefined;
  readonly clock: Clock;
  readonly settings?: BootSettings;
  /** Identity of a file's present content, for HTTP's ETag and ranges; see `directoryValidator`. @default none */
  readonly validatorOf?: (path: string) => Promise<string | undefined>;
  readonly logger?: Logger;
  /** Every request with its decision and reasons. Must not throw. */
  readonly onBoot?: (exchange: BootExchange) => void;
}

export interface BootContentRequest {
  readonly protocol: 'tftp' | 'http';
  readonly path: string;
  readonly remote: Endpoint;
  readonly local: Endpoint;
}

export interface BootExchange {
  readonly protocol: 'tftp' | 'http';
  readonly path: string;
  readonly address: string;
  readonly machine?: string;
  /** The machine's interface that the path names; who asks may be another. */
  readonly mac?: string;
  readonly answer: 'file' | 'config' | 'missing' | RefusalCode | 'unavailable';
  readonly reasons: readonly string[];
}

export type BootContent =
  | { readonly kind: 'text'; readonly text: string; readonly secret: boolean }
  | { readonly kind: 'file'; readonly path: string; readonly file: TftpFile; readonly validator?: string }
  /** The boot root does not give the file. */
  | { readonly kind: 'missing'; readonly refusal: TftpRefusal }
  | { readonly kind: 'refused'; readonly code: RefusalCode | 'unavailable'; readonly reasons: readonly string[] };

export type BootContentSource = (request: BootContentRequest) => Promise<BootContent>;

export function bootContent(options: BootContentOptions): BootContentSource {
  const { files, leaseOf, clock, settings = {}, validatorOf, logger, onBoot } = options;

  return async (request) => {
    const { protocol, path, remote } = request;
    const lease = leaseOf(remote.address);
    const name = bootName(path, settings);
    const named = name.kind === 'config' ? name.mac : undefined;
    let machine: BootMachine | undefined;
    const tell = (answer: BootExchange['answer'], reasons: readonly string[]): void => {
      const subject = machine && { machine: machine.id, ...(named && { mac: named }) };
      const exchange = { protocol, path, address: remote.address, ...subject, answer, reasons };
      logger?.debug(exchange, 'boot file asked for');
      onBoot?.(exchange);
    };

    try {
      machine = await subjectOf(name, lease, options.machines);
    } catch (error) {
      logger?.error({ path, error: error instanceof Error ? error.message : String(error) }, 'the machine records do not answer');
      const reasons = ['the machine records do not answer'];
      tell('unavailable', reasons);
      return { kind: 'refused', code: 'unavailable', reasons };
    }
    const decision: BootDecision = decideBoot(
      machine,
      { protocol, path, address: remote.address, nowMs: clock.now(), ...(lease && { lease }) },
      settings,
    );
    switch (decision.kind) {
      case 'config':
        tell('config', decision.reasons);
        return { kind: 'text', text: decision.text, secret: decision.secret };
      case 'file': {
        const identify = protocol === 'http' ? validatorOf : undefined;
        const before = await identify?.(decision.path);
        const answer = await files({ path: decision.path, remote, local: request.local });
        if (isRefusal(answer)) {
          tell('missing', [...decision.reasons, `${decision.path}: ${answer.message}`]);
          return { kind: 'missing', refusal: answer };
        }
        tell('file', decision.reasons);
        // a file that changed while it was opened gets no validator: it might name the other content
        const validator = before === undefined || before === (await identify?.(decision.path)) ? before : undefined;
        return { kind: 'file', path: decision.path, file: answer, ...(validator !== undefined && { validator }) };
      }
      case 'refuse':
        tell(decision.code, decision.reasons);
        return { kind: 'refused', code: decision.code, reasons: decision.reasons };
      case 'loader':
      case 'local':
        // DHCP's words; a path is never answered with them
        return { kind: 'refused', code: 'no-such-file', reasons: decision.reasons };
    }
  };
}

function subjectOf(name: BootName, lease: BootLease | undefined, machines: BootMachines): Promise<BootMachine | undefined> {
  switch (name.kind) {
    case 'config': {
      if (name.uuid !== undefined) return machines.findMachineByUuid(name.uuid);
      const mac = name.mac ?? lease?.mac;
      return mac === undefined ? Promise.resolve(undefined) : machines.findMachine(mac);
    }
    case 'tree':
      return machines.findMachineByUuid(name.uuid);
    case 'static':
    case 'refused':
      return Promise.resolve(undefined);
  }
}
