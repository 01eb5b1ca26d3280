/**
 * What the boot plane saw, machine by machine and in one place: DISCOVER, offer, request for a file, first byte, end of the transfer; and what is wrong with the
 * network. In memory and bounded: for `bmctl explain` now, not for history (the machine's own timeline is on its record).
 */
import type { Clock } from '../core/clock.ts';
import type { BootExchange } from './boot-content.ts';
import { type DhcpProblem, PROBLEM_CURES } from './dhcp/problems.ts';
import type { DhcpExchange } from './dhcp/reply.ts';
import type { DiscoveredMachine } from './dhcp/strangers.ts';
import type { DownloadReport } from './http-boot.ts';
import type { BootLease } from './machine.ts';
import type { TransferReport } from './tftp/server.ts';

export interface BootJournalOptions {
  readonly clock: Pick<Clock, 'now'>;
  readonly leaseOf: (address: string) => BootLease | undefined;
  /** Each entry, as it is made. */
  readonly onEntry?: (entry: BootEntry, mac: string) => void;
}

export interface BootEntry {
  readonly atMs: number;
  readonly what: 'dhcp' | 'request' | 'transfer';
  /** A sentence without secrets. */
  readonly text: string;
  /** The same thing so often in a row; `atMs` is the last time. */
  readonly count: number;
}

export interface SeenProblem extends DhcpProblem {
  readonly cure: string;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly count: number;
}

export interface SeenStranger extends DiscoveredMachine {
  readonly firstMs: number;
  readonly lastMs: number;
  readonly count: number;
}

const ENTRIES_EACH = 40;
const MOST_MACHINES = 2048;
const MOST_PROBLEMS = 256;
const MOST_STRANGERS = 512;

export class BootJournal {
  private readonly machines = new Map<string, BootEntry[]>();
  private readonly problems = new Map<string, SeenProblem>();
  private readonly strangers = new Map<string, SeenStranger>();

  constructor(private readonly options: BootJournalOptions) {}

  /** For DhcpServer's onExchange. */
  dhcp({ mac, type, address, arch, answer, reason }: DhcpExchange): void {
    if (mac === undefined) return;
    const asked = `DHCP ${type ?? 'message'}${arch === undefined ? '' : ` of architecture ${arch}`}`;
    this.note(mac, 'dhcp', `${asked}: ${answer === 'none' ? 'no answer' : answer}${address === undefined ? '' : ` ${address}`}, ${reason}`);
  }

  /** For bootContent's onBoot. What is refused to who holds another lease, or none, is seen of the machine that it would have been for, too. */
  boot({ protocol, path, address, mac, answer, reasons }: BootExchange): void {
    const why = answer === 'file' || answer === 'config' ? '' : `, ${reasons.join('; ')}`;
    const text = `${protocol.toUpperCase()} ${shown(path)}: ${answer}${why}`;
    this.noteAt(address, 'request', text);
    if (answer === 'not-lease-holder' && mac !== undefined && this.options.leaseOf(address)?.mac !== mac) this.note(mac, 'request', text);
  }

  /** For the TFTP server's onTransfer. */
  transfer(report: TransferReport): void {
    const { remote, file, retransmits, outcome, detail } = report;
    if (outcome === 'refused') return; // the request has been noted with its reason
    const end = `${course(report)}, ${retransmits} sent again`;
    this.noteAt(remote.address, 'transfer', `TFTP ${shown(file)}: ${end}${detail === undefined ? '' : ` (${shown(detail)})`}`);
  }

  /** For httpBootHandler's onDownload. */
  download(report: DownloadReport): void {
    const { remote, file, detail } = report;
    this.noteAt(remote.address, 'transfer', `HTTP ${shown(file)}: ${course(report)}${detail === undefined ? '' : ` (${shown(detail)})`}`);
  }

  /** For DhcpServer's onProblem. */
  problem(problem: DhcpProblem): void {
    const key = `${problem.kind} ${problem.subject}`;
    const before = this.problems.get(key);
    const lastMs = this.options.clock.now();
    const seen = {
      ...problem,
      cure: PROBLEM_CURES[problem.kind],
      firstMs: before?.firstMs ?? lastMs,
      lastMs,
      count: (before?.count ?? 0) + 1,
    };
    keep(this.problems, key, seen, MOST_PROBLEMS);
  }

  /** For DhcpServer's onDiscovered. */
  discovered(found: DiscoveredMachine): void {
    const before = this.strangers.get(found.mac);
    const lastMs = this.options.clock.now();
    keep(
      this.strangers,
      found.mac,
      { ...found, firstMs: before?.firstMs ?? lastMs, lastMs, count: (before?.count ?? 0) + 1 },
      MOST_STRANGERS,
    );
  }

  /** Oldest first. */
  of(mac: string): readonly BootEntry[] {
    return this.machines.get(mac) ?? [];
  }

  /** Last seen last. */
  get seenProblems(): readonly SeenProblem[] {
    return [...this.problems.values()];
  }

  /** Machines that nobody has enrolled and that wanted to boot; last seen last. */
  get seenStrangers(): readonly SeenStranger[] {
    return [...this.strangers.values()];
  }

  private noteAt(address: string, what: BootEntry['what'], text: string): void {
    const mac = this.options.leaseOf(address)?.mac;
    if (mac !== undefined) this.note(mac, what, text);
  }

  private note(mac: string, what: BootEntry['what'], text: string): void {
    const entries = this.machines.get(mac) ?? [];
    const last = entries.at(-1);
    const same = last?.what === what && last.text === text;
    const entry = { atMs: this.options.clock.now(), what, text, count: same ? last.count + 1 : 1 };
    if (same) entries.pop();
    entries.push(entry);
    if (entries.length > ENTRIES_EACH) entries.shift();
    keep(this.machines, mac, entries, MOST_MACHINES);
    this.options.onEntry?.(entry, mac);
  }
}

/** Puts it at the end, and drops the oldest above the limit: a flood of made-up machines must not grow. */
function keep<T>(map: Map<string, T>, key: string, value: T, most: number): void {
  map.delete(key);
  map.set(key, value);
  const oldest = map.size > most ? map.keys().next().value : undefined;
  if (oldest !== undefined) map.delete(oldest);
}

function course(report: Pick<TransferReport, 'outcome' | 'durationMs' | 'bytes' | 'firstByteMs'>): string {
  const { outcome, durationMs, bytes, firstByteMs } = report;
  const first = firstByteMs === undefined ? '' : `, first byte after ${Math.round(firstByteMs)} ms`;
  return `${outcome} after ${Math.round(durationMs)} ms, ${bytes} bytes${first}`;
}

/** What a client sent, fit to be printed. */
function shown(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?').slice(0, 200);
}
